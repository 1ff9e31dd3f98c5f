"""SSM's truth: commands that are sent, delivered, perhaps, and end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdas.adapters.ssm import CommandState
from tests.simulation.things import NEVER, Command, Host
from tests.simulation.work import Verdict, Work

if TYPE_CHECKING:
    from tests.simulation.world import World

DELIVERY_S, SLOW_DELIVERY_S = 1.0, 45.0
RUNS_S = {"pgmend-configure-node": 15.0, "pgmend-restart-service": 2.0, "pgmend-join-replica": 5.0}
RUNS_S_OTHERWISE = 4.0
PROMOTED_S = 8.0  # a new member of etcd has caught up by then, and only then is the document done
PATIENT = frozenset({"pgmend-configure-node", "pgmend-join-replica"})  # they try until it is done
MAJORITY_S, MAJORITY_POLL_S = 60.0, 10.0
PING_LOST_S = 120.0


class Documents:
    """Run Command in every region."""

    def __init__(self, world: World) -> None:
        self._w = world
        self.commands: dict[str, Command] = {}
        self._work = Work(world)
        self._registered: dict[str, float] = {}  # instance → last ping

    # -- as SSM's API shows it

    def online(self, region: str) -> frozenset[str]:
        """Whom SSM can reach, with the delay of a lost ping."""
        for host in self._w.aws.sits.values():
            if self._hears(host):
                self._registered[host.instance_id] = self._w.now
        return frozenset(
            h.instance_id
            for h in self._w.aws.sits.values()
            if h.slot.region == region and self.sees(h)
        )

    def sees(self, host: Host) -> bool:
        """Whether SSM has had a ping of it lately."""
        pinged_at = self._registered.get(host.instance_id, NEVER)
        return self._w.now - pinged_at < PING_LOST_S

    def _hears(self, host: Host) -> bool:
        return host.up(self._w.now) and not host.aws_cut and not host.isolated

    def send(
        self, host: Host, document: str, parameters: dict[str, str], comment: str, timeout_s: float
    ) -> Command:
        """Accept a command; what becomes of it is the weather's."""
        now, weather, region = self._w.now, self._w.weather, host.slot.region
        command = Command(
            command_id=f"c-{len(self.commands) + 1}",
            host=host,
            document=document,
            parameters=parameters,
            comment=comment,
            sent_at=now,
            ends_by=now + timeout_s,
            times=2 if weather.on("ssm-doubled", region) else 1,
        )
        self.commands[command.command_id] = command
        self._w.time.at(command.ends_by, lambda: self._give_up(command))
        if not weather.on("ssm-lost", region):
            slow = weather.on("ssm-slow", region)
            self._w.time.after(
                SLOW_DELIVERY_S if slow else DELIVERY_S, lambda: self._deliver(command)
            )
        return command

    def state(self, command: Command) -> CommandState | None:
        """What get_command_invocation says."""
        if self._w.weather.on("ssm-amnesia", command.host.slot.region):
            return None
        return CommandState(
            status=command.status, exit_code=command.exit_code, output=command.output
        )

    def _give_up(self, command: Command) -> None:
        if command.status in ("Pending", "InProgress"):
            command.status = "TimedOut"
            self._note(command, failed=True)
            self._w.wake("ssm:TimedOut")

    def _deliver(self, command: Command) -> None:
        if command.status != "Pending":
            return
        if not self._hears(command.host):
            self._w.time.after(5.0, lambda: self._deliver(command))
            return
        command.status = "InProgress"
        for _ in range(command.times):
            self._begin(command)

    def _begin(self, command: Command) -> None:
        if self._w.weather.on("ssm-failing", command.host.slot.region):
            self._w.time.after(2.0, lambda: self._end(command, (1, "the document failed")))
            return
        runs_s = RUNS_S.get(command.document, RUNS_S_OTHERWISE)
        if command.document == "pgmend-restart-service":
            verdict = self._work.verdict(command)  # what it restarts may be who would tell
            self._w.time.after(runs_s, lambda: self._end(command, verdict))
            return
        self._w.time.after(runs_s, lambda: self._try(command, self._w.now))

    def _try(self, command: Command, began: float) -> None:
        """Until it is done, refused, or its patience is at an end."""
        if not self._hears(command.host) or command.status != "InProgress":
            return  # the machine is gone; SSM learns of it when the time is up
        verdict = self._work.verdict(command)
        patient = command.document in PATIENT and verdict[0] not in (0, 10)
        if patient and self._w.now - began < MAJORITY_S:
            self._w.time.after(MAJORITY_POLL_S, lambda: self._try(command, began))
        elif verdict[0] == 0 and command.host.slot.name in self._w.etcd.learners:
            self._w.time.after(PROMOTED_S, lambda: self._end(command, verdict))
        else:
            self._end(command, verdict)

    def _end(self, command: Command, verdict: Verdict) -> None:
        if command.status != "InProgress" or not self._hears(command.host):
            return
        code, message = verdict
        unit = command.parameters.get("Service", "patroni")
        # What was sent before a reboot is over for whoever sent it, and what gave no answer may never have been sent.
        if command.known and command.sent_at > command.host.up_at:
            self._w.watch.restarted_at[command.host.slot.name, unit] = self._w.now
        command.status = "Success" if code == 0 else "Failed"
        command.exit_code = code
        self._note(command, failed=code not in (0, 10, 11))
        command.output = f'{{"ok": {str(code == 0).lower()}, "message": "{message}"}}'
        self._w.stir()
        self._w.wake(f"ssm:{command.document} {command.status}")

    def _note(self, command: Command, *, failed: bool) -> None:
        """Count how often configuring this instance has failed."""
        if command.document == "pgmend-configure-node" and failed:
            command.host.configures_failed += 1
            counts, slot = self._w.watch.configures_failed, command.host.slot.name
            counts[slot] = counts.get(slot, 0) + 1
