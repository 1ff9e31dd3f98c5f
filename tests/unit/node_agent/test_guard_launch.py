"""The guard's launcher: which Patroni it starts, which it refuses, and how it says so."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from node_agent.guard import election, known, launch, leadership
from node_agent.guard.known import FUNCTIONS, KNOWN, REPLACED, UnknownPatroniError, digests, verify
from node_agent.render import units
from node_agent.render.patroni import CONFIG_FILE
from tests.unit.node_agent.etcd_on_paper import StockEtcd3, a_module

ROOT = Path(__file__).resolve().parents[3]
SOURCE = """
class Retry:
    deadline = 3


def catch(func):
    return func


class Etcd3:
    @catch
    def _update_leader(self, leader):
        return bool(self._lease)

    def other(self):
        return 1
"""


def knowing(source: str, *names: str) -> dict[str, dict[str, str]]:
    return {"4.0.7": digests(lambda _: source, names)}


# -- what is known


def test_a_function_is_known_by_its_own_lines_with_its_decorators() -> None:
    text = known.text_of(SOURCE, "Etcd3._update_leader")

    assert text == (
        "    @catch\n    def _update_leader(self, leader):\n        return bool(self._lease)\n"
    )
    assert known.text_of(SOURCE, "Retry") == "class Retry:\n    deadline = 3\n"
    assert known.text_of(SOURCE, "Etcd3.deadline") is None
    assert known.text_of(SOURCE, "Nobody.method") is None


def test_the_patroni_it_was_written_against_is_let_through() -> None:
    table = knowing(SOURCE, "m:Etcd3._update_leader", "m:Retry")

    verify("4.0.7", lambda _: SOURCE, table)
    verify("4.0.7", lambda _: SOURCE.replace("return 1", "return 2"), table)


def test_an_unknown_version_is_refused_even_with_the_same_source() -> None:
    with pytest.raises(
        UnknownPatroniError, match=r"Patroni is 4\.0\.8, and the guard knows 4\.0\.7"
    ):
        verify("4.0.8", lambda _: SOURCE, knowing(SOURCE, "m:Retry"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return bool(self._lease)", "return True"),
        ("    @catch\n", ""),
        ("def _update_leader", "def _renew_leader"),
        ("deadline = 3", "deadline = 4"),
    ],
)
def test_a_changed_source_is_refused_under_a_known_version(before: str, after: str) -> None:
    table = knowing(SOURCE, "m:Etcd3._update_leader", "m:Retry")

    with pytest.raises(UnknownPatroniError, match=r"differs from the 4\.0\.7"):
        verify("4.0.7", lambda _: SOURCE.replace(before, after), table)


def test_every_known_version_has_the_digest_of_every_function() -> None:
    assert set(KNOWN) == {"4.0.7"}
    for functions in KNOWN.values():
        assert set(functions) == set(FUNCTIONS)
        assert all(len(digest) == 64 for digest in functions.values())


def test_the_guard_knows_every_method_it_replaces() -> None:
    etcd3, ha = a_module(), ModuleType("ha")
    vars(ha)["Ha"] = type("Ha", (), {"acquire_lock": None, "_is_healthiest_node": None})
    before = {cls: dict(vars(cls)) for cls in (etcd3.Etcd3, etcd3.PatroniEtcd3Client, ha.Ha)}
    leadership.install(etcd3)
    election.install(ha)

    replaced = {
        name
        for cls, old in before.items()
        for name, now in vars(cls).items()
        if old.get(name) is not now
    }
    assert {name.rpartition(".")[2] for name in REPLACED} == replaced


# -- the unit


def test_the_unit_starts_the_launcher_and_does_not_try_a_refusal_again() -> None:
    lines = units.PATRONI.splitlines()
    program, config = units.GUARDED_PATRONI.split()

    first = lines.index("ExecStart=")  # the packaged command is taken back before ours is given
    assert lines[first + 1] == f"ExecStart={program} {config}"
    assert config == CONFIG_FILE
    assert Path(program).relative_to("/opt/pgmend") == Path("bin/pgmend-patroni")
    assert f"RestartPreventExitStatus={launch.REFUSED}" in lines


def test_the_launcher_is_a_program_that_becomes_the_guard() -> None:
    program = ROOT / "node_agent/bin/pgmend-patroni"

    assert program.stat().st_mode & 0o111 == 0o111
    (*_, last) = program.read_text("utf-8").splitlines()
    assert last == 'PYTHONPATH=/opt/pgmend exec /usr/bin/python3 -P -B -m node_agent.guard "$@"'


# -- the start


class Stage:
    """A Patroni that only notes that it ran, and the modules the guard looks at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.version = "4.0.7"
        self.source = SOURCE
        self.ran: list[list[str]] = []
        self.etcd3, self.ha = a_module(), ModuleType("ha")
        vars(self.ha)["Ha"] = type("Ha", (), {"acquire_lock": None, "_is_healthiest_node": None})
        self.missing: set[str] = set()
        monkeypatch.setattr(launch, "import_module", self._import)
        monkeypatch.setattr(inspect, "getsource", lambda _: self.source)
        monkeypatch.setattr(launch, "verify", self._verify)
        monkeypatch.setattr(sys, "argv", ["guard"])
        self._table = knowing(SOURCE, "m:Etcd3._update_leader")

    def _verify(self, version: str, source_of: known.SourceOf) -> None:
        verify(version, source_of, self._table)

    def _import(self, name: str) -> Any:
        if name in self.missing:
            raise ImportError(f"No module named '{name}'")
        if name == "patroni.version":
            module = ModuleType(name)
            vars(module)["__version__"] = self.version
            return module
        if name == "patroni.__main__":
            module = ModuleType(name)
            vars(module)["main"] = lambda: self.ran.append(list(sys.argv))
            return module
        return self.ha if name == "patroni.ha" else self.etcd3

    @property
    def guarded(self) -> bool:
        return self.etcd3.Etcd3._update_leader is not StockEtcd3._update_leader


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_patroni_runs_guarded_with_its_own_arguments(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"PYTHONPATH": "/opt/pgmend"}
    launch.main([CONFIG_FILE], environ)

    assert stage.ran == [["patroni", CONFIG_FILE]]
    assert stage.guarded
    assert "PYTHONPATH" not in environ  # PostgreSQL would inherit it
    assert capsys.readouterr().err.startswith("<6>pgmend guard: on, Patroni 4.0.7")


def test_the_switch_turns_it_off_and_says_so_loudly(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.version = "9.9"
    launch.main([CONFIG_FILE], {"PGMEND_PATRONI_GUARD": "off"})

    assert stage.ran == [["patroni", CONFIG_FILE]]
    assert not stage.guarded
    assert capsys.readouterr().err.startswith("<4>pgmend guard: OFF by PGMEND_PATRONI_GUARD=off")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "4.1.0"}, "Patroni is 4.1.0, and the guard knows 4.0.7"),
        ({"source": SOURCE.replace("bool(self._lease)", "True")}, "differs from the 4.0.7"),
        ({"missing": {"patroni.version"}}, "No module named 'patroni.version'"),
        ({"missing": {"patroni.dcs.etcd3"}}, "No module named 'patroni.dcs.etcd3'"),
    ],
)
def test_what_it_does_not_know_is_not_started(
    stage: Stage, capsys: pytest.CaptureFixture[str], change: dict[str, Any], words: str
) -> None:
    vars(stage).update(change)

    with pytest.raises(SystemExit) as left:
        launch.main([CONFIG_FILE], {})
    assert left.value.code == launch.REFUSED == 78
    assert not stage.ran
    assert not stage.guarded
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("<3>pgmend guard: ")
    assert words in line
    assert "docs/patroni-guard.md" in line


@pytest.mark.parametrize("word", ["OFF", "", "0", "false"])
def test_a_switch_that_means_nothing_is_refused(stage: Stage, word: str) -> None:
    with pytest.raises(SystemExit) as left:
        launch.main([CONFIG_FILE], {"PGMEND_PATRONI_GUARD": word})

    assert left.value.code == launch.REFUSED
    assert not stage.ran


def test_the_entry_for_a_new_version_can_be_printed(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.version = "4.0.8"
    launch.main(["--digests"], {})

    found = json.loads(capsys.readouterr().out)
    assert set(found["4.0.8"]) == set(FUNCTIONS)
    assert not stage.ran


def test_without_a_patroni_the_command_ends_with_a_sentence_and_the_refusals_code() -> None:
    found = subprocess.run(
        [sys.executable, "-P", "-B", "-m", "node_agent.guard", CONFIG_FILE],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == launch.REFUSED
    assert found.stderr.startswith("<3>pgmend guard: No module named 'patroni'")
    assert len(found.stderr.splitlines()) == 1


def test_patronis_process_carries_nothing_of_the_agent_but_the_guard() -> None:
    program = (
        "import sys, node_agent.guard.launch;"
        "print(*sorted(n for n in sys.modules if n.split('.')[0] in ('node_agent', 'boto3', 'app')))"
    )
    found = subprocess.run(
        [sys.executable, "-P", "-B", "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.split() == [
        "node_agent",
        "node_agent.guard",
        "node_agent.guard.election",
        "node_agent.guard.known",
        "node_agent.guard.launch",
        "node_agent.guard.leadership",
    ]
