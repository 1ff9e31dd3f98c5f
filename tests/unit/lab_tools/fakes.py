"""A small cluster on paper for the lab's tools: slots, an AWS, machines, a clock that only moves when told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.control import MachineFault, RegionApi, RegionLink, RegionService, RunResult
from lab.load.history import NO_ANSWER, READ_ONLY, WRITABLE, Outcome, Probe, Write
from lab.operator import Occupant, Slot, StoredReport
from lab.strength import Copy, Database, Reading, Strength

EXAMPLES = Path(__file__).resolve().parents[2] / "contract" / "examples"


def slots() -> tuple[Slot, ...]:
    spec = json.loads((EXAMPLES / "spec.json").read_text("utf-8"))
    names = Slot.__dataclass_fields__
    return tuple(Slot(**{name: item[name] for name in names}) for item in spec["slots"])


def active() -> list[Slot]:
    return [slot for slot in slots() if slot.active]


class FakeClock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 1_700_000_000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def a_full_reading(leader: str = "db-euw1-a") -> Reading:
    occupants = tuple(
        Occupant(instance_id=f"i-{slot.name}", slot=slot.name, state="running", checks="ok")
        for slot in active()
    )
    databases = [slot.name for slot in active() if slot.role == "db"]
    copies = tuple(
        Copy(name=name, state="streaming", lag_bytes=0, reply_age_s=0.1)
        for name in databases
        if name != leader
    )
    return Reading(
        occupants=occupants,
        reports={
            slot.name: StoredReport(
                slot=slot.name,
                instance_id=f"i-{slot.name}",
                sequence=7,
                body={"phase": "configured"},
            )
            for slot in active()
        },
        report_age_s={slot.name: 2.0 for slot in active()},
        databases={
            name: Database(
                answered=True,
                in_recovery=name != leader,
                timeline=1,
                copies=copies if name == leader else (),
            )
            for name in databases
        },
        etcd_healthy=frozenset(slot.name for slot in active() if slot.etcd_voter),
        proxies_writing=frozenset(slot.name for slot in active() if slot.role == "haproxy"),
        apps_ready=frozenset(slot.name for slot in active() if slot.role == "app"),
    )


class FakeMachines:
    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.returncode = 0
        self.says: dict[str, str] = {}  # words of a command's last argument -> what it prints

    def machine_fault(self, fault: MachineFault, instance_id: str) -> None:
        self.calls.append((fault.value, instance_id))

    def region_link(self, link: RegionLink, first: str, second: str) -> None:
        self.calls.append((link.value, first, second))

    def way_to_aws(self, region: str, *, reachable: bool) -> None:
        self.calls.append(("way-to-aws", region, str(reachable)))

    def region_api(self, region: str, api: RegionApi) -> None:
        self.calls.append(("region-api", region, api.value))

    def region_service(self, region: str, service: RegionService, *, running: bool) -> None:
        self.calls.append(("region-service", region, service.value, str(running)))

    def power(self, region: str, *, zone: str | None, on: bool) -> None:
        self.calls.append(("power", region, str(zone), "on" if on else "off"))

    def flap(self, region: str, *, seed: int, for_s: float) -> None:
        self.calls.append(("flap", region, str(seed), str(for_s)))

    def calm(self, region: str) -> None:
        self.calls.append(("calm", region))

    def credentials(self, instance_id: str, *, valid: bool) -> None:
        self.calls.append(("credentials", instance_id, str(valid)))

    def status_checks(self, instance_id: str, verdict: str | None) -> None:
        self.calls.append(("status-checks", instance_id, str(verdict)))

    def schedule_event(self, instance_id: str, code: str, not_before: float) -> str:
        assert not_before > 0
        self.calls.append(("schedule-event", instance_id, code))
        return "instance-event-1"

    def cancel_events(self, instance_id: str) -> None:
        self.calls.append(("cancel-events", instance_id))

    def refuse_launches(
        self, code: str, *, instance_type: str | None = None, zone: str | None = None
    ) -> None:
        self.calls.append(("refuse-launches", code, str(instance_type), str(zone)))

    def allow_launches(self) -> None:
        self.calls.append(("allow-launches",))

    def run(self, instance_id: str, argv: Sequence[str], timeout_s: float = 60.0) -> RunResult:
        del timeout_s
        self.calls.append((instance_id, *argv))
        said = next((out for words, out in self.says.items() if words in argv[-1]), "")
        return RunResult(returncode=self.returncode, stdout=said, stderr="no such unit")


class FakeApi:
    """What `lab.operator.Operator` answers, from memory."""

    def __init__(self) -> None:
        self.terminated: list[tuple[str, str]] = []
        self.switched: list[tuple[str, str, bool]] = []
        self.gone: set[str] = set()
        self.incident_items: list[dict[str, Any]] = []
        self.journal_items: list[dict[str, Any]] = []
        self.sentence = ""

    def spec(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads((EXAMPLES / "spec.json").read_text("utf-8"))
        return found

    def slots(self) -> tuple[Slot, ...]:
        return slots()

    def occupants(self) -> tuple[Occupant, ...]:
        return tuple(
            item for item in a_full_reading().occupants if item.instance_id not in self.gone
        )

    def reports(self) -> Mapping[str, StoredReport]:
        return a_full_reading().reports

    def passwords(self) -> Mapping[str, str]:
        return {"app": "x", "monitor": "x"}

    def terminate(self, instance_id: str, region: str) -> None:
        self.terminated.append((instance_id, region))

    def rules(self, region: str) -> Mapping[str, Mapping[str, Any]]:
        if region != "eu-central-1":
            return {}
        rule = {"State": "ENABLED", "EventBusName": "default"}
        return {
            "pgmend-tick": {**rule, "ScheduleExpression": "rate(1 minute)"},
            "pgmend-agent": {**rule, "EventPattern": '{"source": ["pgmend.agent"]}'},
            "pgmend-alarm": {**rule, "EventPattern": '{"source": ["aws.cloudwatch"]}'},
        }

    def switch_rule(self, name: str, region: str, bus: str, *, enabled: bool) -> None:
        del bus
        self.switched.append((name, region, enabled))

    def journal(self, *, after: str | None = None) -> Sequence[Mapping[str, Any]]:
        return [item for item in self.journal_items if after is None or item["sk"] > after]

    def incidents(self) -> Sequence[Mapping[str, Any]]:
        return self.incident_items

    def healer_sentence(self) -> str:
        return self.sentence


class HealingCluster:
    """Strength that falls when a machine is hit and returns some seconds later."""

    def __init__(self, clock: FakeClock, api: FakeApi, machines: FakeMachines) -> None:
        self.heals_after_s = 30.0
        self.wake = "alarm:pgmend-db-euw1-b-status"
        self.leader: str | None = "db-euw1-a"
        self._clock = clock
        self._api = api
        self._machines = machines
        self._seen = 0
        self._hit_at: float | None = None

    def look(self) -> Strength:
        hits = len(self._machines.calls) + len(self._api.terminated)
        if hits > self._seen:
            self._seen, self._hit_at = hits, self._clock.now
            self._open_incident()
        if self._hit_at is not None and self._clock.now - self._hit_at < self.heals_after_s:
            return Strength(missing=("db-euw1-b does not answer",), leader=self.leader)
        return Strength(missing=(), leader=self.leader)

    def _open_incident(self) -> None:
        stamp = datetime.fromtimestamp(self._clock.wall(), UTC).isoformat()
        name = f"{stamp}-db-euw1-b"
        self._api.incident_items.append(
            {
                "sk": name,
                "slot": "db-euw1-b",
                "diagnosis": "host-dead",
                "opened_at": self._clock.wall(),
                "wake": self.wake,
                "state": "open",
            }
        )
        self._api.journal_items.append(
            {
                "sk": f"{stamp}#{name}-1-evict",
                "slot": "db-euw1-b",
                "kind": "evict",
                "sentence": "db-euw1-b is presumed dead: its instance is ended",
            }
        )


class FakeLoad:
    """Writes every 100 ms without interruption, a prober that sees one leader."""

    def __init__(self, clock: FakeClock) -> None:
        self.started = False
        self.stopped = False
        self.lost: frozenset[int] = frozenset()
        self.twice = False
        self._clock = clock
        self._begin = clock.now

    def start(self) -> None:
        self.started = True
        self._begin = self._clock.now

    def stop(self) -> None:
        self.stopped = True

    def collect(self) -> tuple[Sequence[Write], Sequence[Probe]]:
        count = int((self._clock.now - self._begin) * 10)
        writes = [a_write(self._begin + n / 10, number=n) for n in range(count)]
        probes = [a_probe("db-euw1-a", self._begin + n / 4, WRITABLE) for n in range(count)]
        other = WRITABLE if self.twice else READ_ONLY
        probes += [a_probe("db-euw1-b", self._begin + n / 4, other) for n in range(count)]
        probes += [a_probe("db-euw3-b", self._begin, NO_ANSWER)]
        return writes, probes

    def missing(self, leader_address: str) -> frozenset[int]:
        assert leader_address == "10.10.10.11"
        return self.lost


def a_write(
    at: float,
    *,
    number: int = 1,
    path: str = "haproxy-euw1-a",
    latency_s: float = 0.03,
    outcome: Outcome = Outcome.ACKED,
) -> Write:
    return Write(
        id=number, path=path, at=at, wall=at, latency_s=latency_s, outcome=outcome, reason=""
    )


def a_probe(target: str, at: float, answer: str, *, latency_s: float = 0.002) -> Probe:
    return Probe(
        target=target, at=at, wall=at, latency_s=latency_s, answer=answer, server="10.10.10.11"
    )
