"""The guard's launcher: which Patroni it starts, which it refuses, and how it says so."""

from __future__ import annotations

import inspect
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from node_agent.errors import HoldError
from node_agent.guard import REFUSED, alive, election, known, launch, leadership, leftovers
from node_agent.guard.known import FUNCTIONS, KNOWN, REPLACED, UnknownPatroniError, digests, verify
from node_agent.render import units
from node_agent.render.patroni import CONFIG_FILE
from tests.unit.node_agent.builders import the_spec
from tests.unit.node_agent.etcd_on_paper import StockEtcd3, a_module

ROOT = Path(__file__).resolve().parents[3]
OF_HA = ("acquire_lock", "_is_healthiest_node", "set_is_leader", "demote", "shutdown")
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
    vars(ha)["Ha"] = type("Ha", (), dict.fromkeys(OF_HA))
    before = {cls: dict(vars(cls)) for cls in (etcd3.Etcd3, etcd3.PatroniEtcd3Client, ha.Ha)}
    leadership.install(etcd3)
    election.install(ha)
    alive.install(ha, alive.Keeper(lambda _: None, None))

    replaced = {
        name
        for cls, old in before.items()
        for name, now in vars(cls).items()
        if old.get(name) is not now
    }
    assert {name.rpartition(".")[2] for name in REPLACED} == replaced


# -- the unit


def test_the_unit_starts_the_launcher_and_does_not_try_a_refusal_again() -> None:
    lines = units.patroni(the_spec()).splitlines()
    program, config = units.GUARDED_PATRONI.split()

    first = lines.index("ExecStart=")  # the packaged command is taken back before ours is given
    assert lines[first + 1] == f"ExecStart={program} {config}"
    assert config == CONFIG_FILE
    assert Path(program).relative_to("/opt/pgmend") == Path("bin/pgmend-patroni")
    assert f"RestartPreventExitStatus={REFUSED}" in lines


def test_what_follows_patroni_is_the_fence_with_the_bundles_code() -> None:
    words = units.FENCE.split()
    found = subprocess.run(
        [sys.executable, *words[words.index("/usr/bin/python3") + 1 :]],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert words[:2] == ["/usr/bin/env", "PYTHONPATH=/opt/pgmend"]
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert f"ExecStopPost=-{units.FENCE}" in units.patroni(the_spec()).splitlines()


def test_a_patroni_that_hangs_is_killed_alone_and_is_back_before_a_leaders_lease_ends() -> None:
    spec = the_spec()
    lines = units.patroni(spec).splitlines()

    watchdog_s = units.watchdog_s(spec)
    assert watchdog_s == 10
    assert f"WatchdogSec={watchdog_s}" in lines
    assert {"NotifyAccess=main", "WatchdogSignal=SIGKILL"} <= set(lines)
    assert {"RuntimeDirectory=pgmend-patroni", "RuntimeDirectoryPreserve=restart"} <= set(lines)
    assert f"RestartSec={alive.RESTART_S:.0f}" in lines
    assert not any(line.startswith("KillMode=") for line in lines)  # the package's: process
    back_s = spec.patroni["loop_wait"] + watchdog_s + alive.RESTART_S + alive.START_S
    assert back_s + spec.patroni["retry_timeout"] <= spec.patroni["ttl"]


def test_the_kernels_choice_of_a_backend_stops_nothing_and_the_postmaster_is_spared() -> None:
    lines = units.patroni(the_spec()).splitlines()

    assert {"OOMPolicy=continue", "OOMScoreAdjust=-900"} <= set(lines)
    # PostgreSQL's own way to make its backends ordinary again.
    adjust = "PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj PG_OOM_ADJUST_VALUE=0"
    assert f"Environment={adjust}" in lines


@pytest.mark.parametrize(
    ("patroni", "watchdog_s"),
    [
        ({"ttl": 30, "loop_wait": 5, "retry_timeout": 5}, 15),
        ({"ttl": 17, "loop_wait": 2, "retry_timeout": 3}, 7),
        ({"ttl": 15, "loop_wait": 2, "retry_timeout": 1}, 7),
    ],
)
def test_the_watchdog_goes_by_the_ttl(patroni: dict[str, int], watchdog_s: int) -> None:
    spec = the_spec(patroni={**the_spec().patroni, **patroni})

    assert units.watchdog_s(spec) == watchdog_s


@pytest.mark.parametrize(
    ("patroni", "least"),
    [
        ({"ttl": 16, "loop_wait": 2, "retry_timeout": 3}, 17),
        ({"ttl": 12, "loop_wait": 2, "retry_timeout": 1}, 13),
        ({"ttl": 30, "loop_wait": 10, "retry_timeout": 10}, 46),
    ],
)
def test_a_ttl_without_room_for_a_restart_is_refused(patroni: dict[str, int], least: int) -> None:
    given = {**the_spec().patroni, **patroni}

    with pytest.raises(HoldError, match=rf"it is {least} s at least"):
        units.patroni(the_spec(patroni=given))
    assert units.watchdog_s(the_spec(patroni={**given, "ttl": least})) >= units.WATCHDOG_MIN_S


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
        vars(self.ha)["Ha"] = type("Ha", (), dict.fromkeys(OF_HA))
        vars(self.ha)["global_config"] = SimpleNamespace(is_paused=False)
        self.missing: set[str] = set()
        self.before_import: Callable[[], object] = lambda: None
        monkeypatch.setattr(launch, "import_module", self._import)
        monkeypatch.setattr(inspect, "getsource", lambda _: self.source)
        monkeypatch.setattr(launch, "verify", self._verify)
        monkeypatch.setattr(sys, "argv", ["guard"])
        self._table = knowing(SOURCE, "m:Etcd3._update_leader")

    def _verify(self, version: str, source_of: known.SourceOf) -> None:
        verify(version, source_of, self._table)

    def _import(self, name: str) -> Any:
        self.before_import()
        self.before_import = lambda: None
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
    assert left.value.code == REFUSED == 78
    assert not stage.ran
    assert not stage.guarded
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("<3>pgmend guard: ")
    assert words in line
    assert "docs/patroni-guard.md" in line


@pytest.mark.parametrize("switch", ["on", "off"])
def test_under_systemd_the_watchdog_is_fed_before_patroni_is_imported_and_with_the_guard_off_too(
    stage: Stage, tmp_path: Path, switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared: list[int] = []
    monkeypatch.setattr(leftovers, "clear", lambda: cleared.append(len(stage.ran)))
    before = dict(vars(stage.ha.Ha))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        stage.before_import = lambda: systemd.recv(100)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "PGMEND_PATRONI_GUARD": switch}
        launch.main([CONFIG_FILE], {**environ, "RUNTIME_DIRECTORY": str(tmp_path)})

    assert stage.ran == [["patroni", CONFIG_FILE]]
    assert cleared == [0]  # before Patroni
    changed = {name for name, now in vars(stage.ha.Ha).items() if before.get(name) is not now}
    assert ("set_is_leader" in changed) is (switch == "on")


@pytest.mark.parametrize("word", ["OFF", "", "0", "false"])
def test_a_switch_that_means_nothing_is_refused(stage: Stage, word: str) -> None:
    with pytest.raises(SystemExit) as left:
        launch.main([CONFIG_FILE], {"PGMEND_PATRONI_GUARD": word})

    assert left.value.code == REFUSED
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

    assert found.returncode == REFUSED
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
        "node_agent.guard.alive",
        "node_agent.guard.election",
        "node_agent.guard.fence",
        "node_agent.guard.journal",
        "node_agent.guard.known",
        "node_agent.guard.launch",
        "node_agent.guard.leadership",
        "node_agent.guard.leftovers",
    ]
