"""The agent writes what the contract shows: reports, events, its command line, the app's configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.config import Address, Config
from node_agent import changes, database, paths, report
from node_agent import spec as specs
from node_agent.changes import Change
from node_agent.disk import Record, device_of
from node_agent.errors import AgentError, HoldError, RefusedError, UsageError
from node_agent.inputs import ROLES, Birth
from node_agent.node import Node
from node_agent.probes import disk as disks
from node_agent.probes import etcd, haproxy, patroni, postgres, system
from node_agent.probes.http import Http
from node_agent.render import app as render_app
from node_agent.render import etcd as render_etcd
from node_agent.render import haproxy as render_haproxy
from node_agent.render import patroni as render_patroni
from node_agent.report import Reporter, Sequence
from node_agent.sender import Sender, metrics_of
from node_agent.spec import Spec
from tests.unit.node_agent.conftest import Home, home

__all__ = ["home"]

ROOT = Path(__file__).parents[2]
EXAMPLES = Path(__file__).parent / "examples"
CONTRACT = (ROOT / "docs" / "contracts.md").read_text()
DOCUMENTS = sorted((ROOT / "ssm_documents").glob("*.yaml"))
SPEC = Spec(json.loads((EXAMPLES / "spec.json").read_text()))


def example(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EXAMPLES / name).read_text())
    return document


def a_node(slot: str) -> Node:
    return Node(
        cluster="pgmend",
        slot=slot,
        instance_id="i-1",
        region="eu-west-1",
        hub_region="eu-central-1",
        bucket="b",
        table="pgmend",
        endpoints={},
    )


# -- reports


def shape(value: Any) -> Any:
    """Fields, all the way down; of a list's rows those of the first."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [shape(value[0])]
    return None


@pytest.mark.parametrize(
    ("slot", "name"),
    [
        ("db-euw3-b", "report-idle.json"),
        ("db-euw1-a", "report-leader.json"),
        ("witness-euc1-a", "report-witness.json"),
        ("haproxy-euw1-a", "report-haproxy.json"),
        ("app-euw1-a", "report-app.json"),
    ],
)
def test_a_report_has_exactly_the_examples_fields(home: Home, slot: str, name: str) -> None:
    made = Reporter(a_node(slot), sequence=Sequence(home.state / "sequence")).make()
    assert set(made) == set(example(name))
    assert made["version"] == example(name)["version"] == report.VERSION
    assert made["role"] == example(name)["role"]
    json.dumps(made)


def test_every_part_of_a_report_has_the_examples_fields() -> None:
    leader, proxy, app = (example(f"report-{n}.json") for n in ("leader", "haproxy", "app"))
    cluster = {"members": [{"name": "db-euw1-a", "role": "leader", "state": "running"}]}
    members = {"members": [{"ID": "1", "name": "db-euw1-a"}]}
    stat = "# pxname,svname,status\nwrites,db-euw1-a,UP\n"
    standby = postgres.standby({"name": "db-euw1-b"})
    slot = postgres.replication_slot({"name": "db_euw1_b"})
    assert shape(patroni.parse({}, cluster)) == shape(leader["patroni"])
    assert shape(etcd.parse({}, {}, members, {})) == shape(leader["etcd"])
    assert set(postgres.UNKNOWN) == set(leader["postgres"])
    assert set(standby) == set(leader["postgres"]["replication"][0])
    assert set(slot) == set(leader["postgres"]["replication_slots"][0])
    assert set(haproxy.parse(stat)) == set(proxy["haproxy"])
    assert set(disks.UNKNOWN) == set(disks.sizes(Path("/proc"))) == set(leader["disk"])
    noted = patroni.History().note(patroni.parse({}, cluster), 0.0)
    assert set(noted) == set(leader["patroni"])
    assert set(app["app"]) == {"up", "ready"}


def test_a_probe_without_an_answer_keeps_its_fields() -> None:
    leader = example("report-leader.json")
    assert set(patroni.parse(None, None)) == set(leader["patroni"])
    assert set(etcd.parse(None, None, None, None)) == set(leader["etcd"])
    assert set(haproxy.probe(0.1, "/nowhere")) == set(example("report-haproxy.json")["haproxy"])


def test_no_answer_is_said_where_the_contract_says_it_and_the_rest_is_unknown() -> None:
    nobody = Http(0.1)
    parts = {
        "postgres": (postgres.UNKNOWN, "up"),
        "patroni": (patroni.parse(None, None), "up"),
        "etcd": (etcd.Etcd(nobody, "http://127.0.0.1:1").probe(), "healthy"),
        "haproxy": (haproxy.probe(0.1, "/nowhere"), "up"),
    }
    flags = {("patroni", "paused"), ("patroni", "pending_restart")}
    words = CONTRACT.split("A probe that got no answer")[1].split("\n- ")[0]
    for name, (part, sign) in parts.items():
        assert part[sign] is False
        assert f"`{name}.{sign}`" in words
        rest = {field: value for field, value in part.items() if field != sign}
        assert all(value in (None, [], {}) or (name, f) in flags for f, value in rest.items())
    assert system.App(nobody, 0.1, base="http://127.0.0.1:1").probe() == {
        "up": False,
        "ready": False,
    }
    assert f"within {system.READY_S:.0f} s" in words


# -- events


def test_an_event_has_exactly_the_examples_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node_agent.sender.STATE", tmp_path)
    wanted = example("event.json")
    sender = Sender(a_node("db-euw1-b"))
    body = {name: wanted["detail"][name] for name in ("cluster", "slot", "instance_id", "sequence")}
    change = Change(
        detail_type=wanted["detail-type"], subject="leader", before="db-euw1-a", after="db-euw1-b"
    )
    sender.announce(body, [change])
    made = sender.spool.head(1)[0]
    assert made["detail_type"] == wanted["detail-type"]
    assert {**made["detail"], "event_id": ""} == {**wanted["detail"], "event_id": ""}
    assert made["detail"]["event_id"].startswith(f"{body['instance_id']}-{body['sequence']}-")


def test_the_agent_announces_only_what_the_contract_lists() -> None:
    listed = CONTRACT.split("`DetailType` one of ")[1].split(".\n")[0]
    named = {part.strip(" `\n") for part in listed.split(",")}
    source = Path(changes.__file__).read_text()
    said = set(re.findall(r'"([A-Z][A-Za-z]+ [A-Z][A-Za-z ]+)"', source))
    assert said == named


def test_metrics_are_those_the_alarms_watch() -> None:
    watched = (ROOT / "tofu" / "modules" / "alarms" / "main.tf").read_text()
    names = {
        name
        for kind in ("leader", "haproxy", "app")
        for name in metrics_of(example(f"report-{kind}.json"))
    }
    own = set(re.findall(r'metric_name\s*=\s*"(\w+)"', watched)) - {"StatusCheckFailed"}
    assert own <= names


# -- exit codes


def test_exit_codes_are_the_contracts() -> None:
    words = CONTRACT.split("Exit codes: ")[1].split("\n")[0]
    for error, meaning in (
        (AgentError, "failed"),
        (UsageError, "wrong parameters"),
        (RefusedError, "refused"),
        (HoldError, "hold"),
    ):
        assert f"{error.exit_code} {meaning}" in words


# -- names that several sides must spell alike


def test_the_app_accepts_the_configuration_that_is_rendered() -> None:
    text = render_app.configuration(SPEC, SPEC.slots["app-euw1-a"], {})
    assert json.loads(text) == example("app.json")
    config = Config.parse(json.loads(text))
    assert config.writers[0] == Address(host="10.10.10.21", port=5432)
    assert {address.port for address in config.readers} == {5433}


def test_paths_are_the_contracts() -> None:
    written = [
        specs.KEPT.parent / "node.json",
        Path(render_etcd.DATA_DIR).parent,
        Path("/run/haproxy/admin.sock"),
    ]
    assert all(f"`{path}" in CONTRACT for path in written)
    assert haproxy.SOCKET == "/run/haproxy/admin.sock"
    assert Path("/etc/pgmend/node.json") == paths.NODE_FILE
    assert str(database.DATA_DIR).startswith("/var/lib/pgmend/postgresql/")
    link = device_of("vol-0123456789abcdef0")
    assert str(link) == ("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0")


def test_ports_are_the_contracts() -> None:
    words = CONTRACT.split("Ports: ")[1].split("\n\n")[0]
    for port in (
        render_patroni.POSTGRES_PORT,
        render_patroni.REST_PORT,
        render_haproxy.WRITES_PORT,
        render_haproxy.READS_PORT,
    ):
        assert str(port) in words


def test_the_secret_holds_the_roles_the_agent_asks_for() -> None:
    row = next(line for line in CONTRACT.splitlines() if line.startswith("| secret"))
    assert all(f"`{role}`" in row for role in ROLES)


def test_the_disks_record_has_the_contracts_fields() -> None:
    record = Record(volume_id="vol-1", slot="db-euw1-a", cluster="pgmend")
    assert json.loads(record.text()) == {
        "version": 1,
        "volume_id": "vol-1",
        "slot": "db-euw1-a",
        "cluster": "pgmend",
    }
    assert Record.parse(record.text()) == record


def test_the_birth_item_has_the_contracts_attributes() -> None:
    row = next(line for line in CONTRACT.splitlines() if line.startswith("| `CLUSTER` | `birth`"))
    for name in Birth.__dataclass_fields__:
        assert f"`{name}`" in row


def test_the_phases_are_the_contracts() -> None:
    line = next(line for line in CONTRACT.splitlines() if line.startswith("- `phase`"))
    assert all(f"`{phase}`" in line for phase in ("idle", "configured", "left"))
