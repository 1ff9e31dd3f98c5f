"""People's commands from words to confirmation, on moto's AWS."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from lambdas.core.incident import Incident
from lambdas.core.model import Mode
from lambdas.people.cli import main
from lambdas.people.connect import Hub, hub_of
from lambdas.people.errors import RefusedError
from tests.adapters.lambdas.desk import ACCOUNT, NOW, REGION, Desk, an_incident, report

ROOT = Path(__file__).parents[3]


# -- every order wakes the healer and says where it went


def test_a_pause_is_confirmed_in_one_breath(desk: Desk) -> None:
    order, woken, where = desk.says("pause", "--for", "2h", "--why", "new disks").splitlines()
    assert order.startswith("mode is observe until 2027-01-15 10:00:00 UTC (for 2 h): the healer")
    assert order.endswith("Why: new disks")
    assert woken == "The healer is awake and looks now."
    assert where == f"[pgmend on AWS, account {ACCOUNT}, {REGION}]"
    (request,) = desk.waker.woken
    assert (request["FunctionName"], request["InvocationType"]) == ("pgmend-healer", "Event")
    assert json.loads(request["Payload"]) == {
        "source": "pgmend.operator",
        "detail-type": "Look",
        "detail": {"version": 1},
    }
    assert desk.table.state().mode_at(NOW + 7199) is Mode.OBSERVE


def test_the_order_stands_though_the_healer_sleeps_on(desk: Desk) -> None:
    desk.waker.failure = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "Invoke")
    assert "could not be woken" in desk.says("pause", "--off", "--why", "disks")
    assert desk.table.state().mode is Mode.OFF


def test_an_order_goes_by_the_name_of_the_caller(desk: Desk) -> None:
    desk.says("pause", "--why", "disks")
    assert "by assumed-role/OnCall/ann (disks)" in desk.says("status")
    desk.sts.arn = "arn:aws:iam::123456789012:user/bob"
    assert "assumed-role/OnCall/ann had set it to observe" in desk.says("resume")


def test_a_laptop_whose_clock_is_off_orders_by_the_clock_of_aws(desk: Desk) -> None:
    desk.clock = NOW - 5400
    desk.says("pause", "--for", "1h", "--why", "disks")
    assert desk.table.state().mode_until == NOW + 3600


def test_resume_tells_what_still_holds(desk: Desk) -> None:
    desk.says("window", "--for", "1h", "--why", "kernel")
    desk.says("pause", "--why", "disks")
    said = desk.says("resume")
    assert "mode is auto again" in said
    assert "Note: a window is on until 2027-01-15 09:00:00 UTC: kernel." in said
    assert "observe." not in said.replace("set it to observe", "")


def test_windows_are_added_listed_and_cancelled(desk: Desk) -> None:
    assert "no window" in desk.says("window")
    desk.says("window", "--from", "2027-01-15T22:00Z", "--for", "2h", "--why", "kernel")
    desk.says("window", "--from", "2027-01-16T22:00Z", "--until", "2027-01-17", "--why", "x")
    assert desk.says("window").splitlines()[0] == (
        "to come  2027-01-15 22:00:00 UTC to 2027-01-16 00:00:00 UTC (2 h): kernel"
    )
    assert "cancelled" in desk.says("window", "--cancel", "2027-01-15T22:00Z")
    assert [w.why for w in desk.table.state().windows] == ["x"]


def test_an_acknowledgement_closes_the_breaker_and_names_what_begins_anew(desk: Desk) -> None:
    desk.table.open_breaker(why="never joined", now=NOW - 60)
    desk.table.save_incident(an_incident(held="ladder"))
    said = desk.says("ack", "--why", "bad image, fixed")
    assert "the breaker, open for 1 min, is closed (it opened because never joined)" in said
    assert "begins anew with db-euw3-a. Why: bad image, fixed" in said
    breaker = desk.table.state().breaker
    assert breaker is not None
    assert (breaker.open, breaker.acknowledged_at) == (False, NOW)


def test_a_switchover_and_a_roll_are_ordered_and_taken_back(desk: Desk) -> None:
    report("db-euw3-a")
    assert "switchover to db-euw3-a" in desk.says("switchover", "--to", "db-euw3-a")
    planned = desk.table.state().planned
    assert planned is not None
    assert (planned.to, planned.since) == ("db-euw3-a", NOW)
    assert "is cancelled" in desk.says("switchover", "--cancel")
    assert "every node is replaced" in desk.says("roll", "--why", "new image")
    assert "planned     roll, ordered" in desk.says("status")
    assert "is cancelled" in desk.says("roll", "--cancel")
    assert desk.table.state().planned is None


# -- status and history


def test_status_tells_the_open_incident_with_its_steps(desk: Desk) -> None:
    desk.table.save_incident(an_incident())
    step = {"incident": "20270115T075900-db-euw3-a", "sentence": "launched i-2"}
    desk.table.journal(
        at_iso="2027-01-15T07:59:03.000Z", action_id="a", entry=step, token=1, at=NOW - 57
    )
    desk.table.take_lease(owner="x", now=NOW - 5, lease_s=30)
    said = desk.says("status")
    assert "db-euw3-a is gone, open for 1 min" in said
    assert "+3 s  launched i-2" in said
    assert "run 2 holds the lease, taken 5 s ago" in said


def test_status_tells_who_says_that_patroni_is_paused(desk: Desk) -> None:
    paused = json.dumps({"patroni": {"paused": True}})
    report("db-euw1-a", paused)
    report("db-euw1-b", paused, instance_id="i-gone")
    report("db-euw1-c", json.dumps({"patroni": None}))
    report("db-euw3-a", "{")
    report("db-euw3-b", "[]")
    heard = {
        slot: {"instance_id": "i-1"}
        for slot in ("db-euw1-a", "db-euw1-b", "db-euw3-a", "db-euw3-b")
    }
    desk.table.save_freshness(heard)
    assert "patroni     paused, says db-euw1-a: nothing" in desk.says("status")


def test_history_is_a_story_of_incidents_and_orders(desk: Desk) -> None:
    for minute in range(3):
        incident = Incident(
            incident_id=f"20270115T080{minute}00-db-euw3-a",
            slot="db-euw3-a",
            diagnosis="gone",
            opened_at=NOW + 60 * minute,
            wake="tick",
        )
        desk.table.save_incident(incident)
        desk.table.heal_incident(incident, at=NOW + 60 * minute + 41, sentence="healed")
    desk.clock, desk.sts.date = NOW + 90, "Fri, 15 Jan 2027 08:01:30 GMT"
    desk.says("pause", "--why", "disks")
    lines = desk.says("history", "--last", "2").splitlines()
    heads = [line.split("  ")[1] for line in lines if line.startswith("2027")]
    assert heads[0] == heads[2] == "db-euw3-a is gone; healed after 41 s"
    assert heads[1].startswith("assumed-role/OnCall/ann: mode is observe")
    alone = desk.says("history", "--incident", "20270115T080100-db-euw3-a")
    assert alone.count("is gone") == 1
    assert "observe" not in alone
    assert desk.says("history", "--slot", "db-euw1-a") == "nothing is known to have happened\n"
    assert desk.says("history", "--slot", "db-euw3-a").count("is gone") == 3


# -- what is refused


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("pause", "--why"),
        ("pause --why=", "say why"),
        ("pause --why x --for 2x", "no duration"),
        ("pause --why x --until 2027-01-15T07:00Z", "is past"),
        ("pause --why x --until 2027-01-15T09:00Z --for 2h", "not both"),
        ("pause --why x --off --observe", "not allowed"),
        ("resume", "no pause to end"),
        ("ack", "nothing to acknowledge"),
        ("window --from 2027-01-15T07:00Z --for 2h --why x", "is past"),
        ("window --from 2027-01-15T09:00Z --why x", "a window has an end"),
        ("window --from 2027-01-15T09:00Z --for 2h", "say why"),
        ("window --from 2027-01-15T09:00Z --until 2027-01-15T08:30Z --why x", "before it begins"),
        ("window --cancel 2027-01-15T09:00Z", "no window begins"),
        ("window --cancel 2027-01-15T09:00Z --why x", "nothing else"),
        ("window --cancel yesterday", "no time"),
        ("switchover --to db-nowhere-a", "no slot 'db-nowhere-a'; there are"),
        ("switchover --to haproxy-euw1-a", "no database"),
        ("switchover --to db-euw1-c", "never reported"),
        ("switchover --cancel", "no switchover"),
        ("switchover --cancel --to db-euw1-a", "nothing else"),
        ("roll --cancel", "no roll"),
        ("history --slot db-nowhere-a", "no slot"),
        ("history --incident x", "no incident 'x'"),
        ("history --last 0", "between 1 and 500"),
        ("history --last many", "invalid int"),
        ("demolish", "invalid choice"),
        ("", "required"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(desk: Desk, words: str, why: str) -> None:
    assert why in desk.is_refused(*words.split())


def test_who_leads_already_is_not_switched_to(desk: Desk) -> None:
    report("db-euw1-a")
    desk.table.save_strength(full=True, missing=(), leader="db-euw1-a", sentence="s", at=NOW)
    assert "leads already" in desk.is_refused("switchover", "--to", "db-euw1-a")


def test_a_second_plan_is_refused(desk: Desk) -> None:
    desk.says("roll")
    desk.waker.woken.clear()
    assert "is not done yet" in desk.is_refused("switchover")


# -- the way there


def test_a_cluster_that_is_not_there_is_said_and_not_thrown(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"], hub=desk.hub("elsewhere")) == 1
    assert "table elsewhere in eu-west-3; --cluster and --region" in capsys.readouterr().err


LAB = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "AWS_REGION": "eu-central-1"}


def way(on: str, env: dict[str, str], region: str | None = None) -> Hub:
    return hub_of(on=on, cluster="pgmend", region=region, env=env)


@pytest.mark.parametrize(
    ("on", "env", "why"),
    [
        ("lab", {}, "needs AWS_ENDPOINT_URL"),
        ("aws", LAB, "is not AWS"),
        ("auto", {"AWS_ENDPOINT_URL": "lab"}, "no address"),
        ("auto", {"AWS_ENDPOINT_URL": "http://"}, "no address"),
        ("auto", {"AWS_ENDPOINT_URL": "http://127.0.0.1 :4566"}, "no address"),
    ],
)
def test_options_and_environment_that_contradict_each_other_are_refused(
    on: str, env: dict[str, str], why: str
) -> None:
    with pytest.raises(RefusedError, match=why):
        way(on, env)


@pytest.mark.usefixtures("desk")
def test_the_lab_is_reached_by_the_environment_and_named() -> None:
    for on in ("lab", "auto"):
        assert way(on, LAB).where() == "[pgmend at http://127.0.0.1:4566]"


@pytest.mark.parametrize(
    ("env", "region", "chosen"),
    [
        ({}, None, "eu-central-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, None, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-2"}, None, "eu-west-2"),
        ({"AWS_REGION": "eu-west-2", "PGMEND_HUB_REGION": "eu-north-1"}, None, "eu-north-1"),
        ({"AWS_REGION": "eu-west-2"}, "eu-south-1", "eu-south-1"),
    ],
)
def test_the_hubs_region_is_the_nearest_word(
    env: dict[str, str], region: str | None, chosen: str
) -> None:
    assert way("auto", env, region).region == chosen


@pytest.mark.usefixtures("desk")
def test_the_real_clients_reach_what_the_environment_says() -> None:
    hub = way("auto", {"AWS_REGION": REGION})
    assert hub.person().by
    assert hub.where().startswith("[pgmend on AWS, account ")
    assert hub.facts().planned is None


@pytest.fixture
def endpoint() -> Iterator[str]:
    """moto's AWS behind an address, as the lab's is."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.usefixtures("desk")
def test_the_program_needs_nothing_but_an_address_and_keys(endpoint: str) -> None:
    env = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
    }
    program = [sys.executable, "-m", "lambdas.people", "--on", "lab"]
    order = ["pause", "--for", "2h", "--why", "new disks"]
    done = subprocess.run(
        [*program, *order], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].endswith("Why: new disks")
    assert "could not be woken" in lines[1]  # there is no healer behind this address
    assert lines[2] == f"[pgmend at {endpoint}]"
