"""SSM's truth, and what the documents do on a node: with the node's own guards, as `pgmend-node` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdas.adapters.ssm import CommandState
from lambdas.core.model import Phase, Role
from tests.simulation.things import Command, Disk, Host

if TYPE_CHECKING:
    from tests.simulation.world import World

DELIVERY_S, SLOW_DELIVERY_S = 1.0, 45.0
RUNS_S = {"pgmend-configure-node": 15.0, "pgmend-restart-service": 2.0, "pgmend-join-replica": 5.0}
MAJORITY_S, MAJORITY_POLL_S = 60.0, 10.0
PING_LOST_S = 120.0
Verdict = tuple[int, str]  # exit code and message
DONE: Verdict = (0, "done")


class Documents:
    """Run Command in every region."""

    def __init__(self, world: World) -> None:
        self._w = world
        self.commands: dict[str, Command] = {}
        self._registered: dict[str, float] = {}  # instance → last ping

    # -- as SSM's API shows it

    def online(self, region: str) -> frozenset[str]:
        """Whom SSM can reach, with the delay of a lost ping."""
        now = self._w.now
        for host in self._w.aws.sits.values():
            if self._hears(host):
                self._registered[host.instance_id] = now
        return frozenset(
            h.instance_id
            for h in self._w.aws.sits.values()
            if h.slot.region == region
            and now - self._registered.get(h.instance_id, float("-inf")) < PING_LOST_S
        )

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
        if command.document == "pgmend-restart-service":
            verdict = self._restart(command)
            self._w.time.after(2.0, lambda: self._end(command, verdict))
            return
        self._w.time.after(RUNS_S[command.document], lambda: self._work(command, self._w.now))

    def _work(self, command: Command, began: float) -> None:
        """Try until it is done, refused, or its patience is at an end."""
        host = command.host
        if not self._hears(host) or command.status != "InProgress":
            return  # the machine is gone; SSM learns of it when the time is up
        work = self._configure if command.document == "pgmend-configure-node" else self._join
        verdict = work(command)
        if verdict[0] in (0, 10) or self._w.now - began >= MAJORITY_S:
            self._end(command, verdict)
        else:
            self._w.time.after(MAJORITY_POLL_S, lambda: self._work(command, began))

    def _end(self, command: Command, verdict: Verdict) -> None:
        if command.status != "InProgress" or not self._hears(command.host):
            return
        code, message = verdict
        unit = command.parameters.get("Service", "patroni")
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

    # -- restart

    def _restart(self, command: Command) -> Verdict:
        host, unit = command.host, command.parameters["Service"]
        if unit == "pgmend-agent":
            host.agent = "up"
            self._w.stir()
            return DONE
        if host.phase is not Phase.CONFIGURED:
            return 10, "not configured"
        refusal = self._harmful(host, unit) if host.services.get(unit) == "active" else None
        if refusal is not None:
            return 10, refusal
        return DONE if self._w.nodes.restart(host, unit) else (1, f"{unit} does not start")

    def _harmful(self, host: Host, unit: str) -> str | None:
        etcd = self._w.etcd
        if unit not in ("patroni", "etcd"):
            return None
        if unit == "etcd" and not etcd.reaches(host):
            return None
        if self._w.patroni.leads(host):
            return "a living leader is never restarted"
        if unit == "etcd" and not etcd.enough_without(host.slot.name):
            return "etcd's majority needs this member"
        return None

    # -- join

    def _join(self, command: Command) -> Verdict:
        host, patroni = command.host, self._w.patroni
        if host.phase is not Phase.CONFIGURED:
            return 10, "not configured"
        if patroni.leads(host):
            return 10, "it leads"
        if patroni.streams(host):
            return DONE
        if host.disk is not None and not host.disk.database and host.pg == "replica":
            return 10, "it is being cloned"
        if host.stuck or host.pg == "down" or host.services.get("patroni") != "active":
            self._w.nodes.restart(host, "patroni")
        return 1, "it does not stream yet"

    # -- configure

    def _configure(self, command: Command) -> Verdict:
        host = command.host
        if host.slot.disk is None:
            return self._finish(host)
        disk = host.disk
        if disk is None or not disk.attached or disk.volume_id != command.parameters["VolumeId"]:
            return 1, "the volume has not come"
        birthing = command.parameters["Birth"] == "yes" and self._w.hub.birth_pending()
        if host.slot.etcd_voter and not self._seat(host, disk, birthing=birthing):
            return 11, "no etcd majority"
        disk.blank = False
        if host.slot.role is Role.DB and not self._database(host, disk, birthing=birthing):
            return 11 if disk.member is None else 1, "the cluster's identity is not known"
        return self._finish(host)

    def _seat(self, host: Host, disk: Disk, *, birthing: bool) -> bool:
        """etcd's member: new in a birth, kept on its own volume, else taken anew through a majority."""
        slot, etcd = host.slot.name, self._w.etcd
        listed = not etcd.quorum() or etcd.members.get(slot) == disk.member
        if disk.member is not None and listed:
            self._run(host, "etcd")
            return True
        if birthing and disk.member is None and slot not in etcd.members:
            disk.member = etcd.found(slot)
            self._run(host, "etcd")
            return True
        if not (etcd.reaches(host) and etcd.enough_without(slot)):
            return False
        disk.member = etcd.take_seat(slot)
        self._run(host, "etcd")
        self._w.time.after(6.0, lambda: etcd.promote(slot))
        return True

    def _database(self, host: Host, disk: Disk, *, birthing: bool) -> bool:
        if birthing and host.slot.name == self._w.hub.first_leader() and not self._w.etcd.born:
            if not self._w.etcd.reaches(host):
                return False
            host.services["patroni"] = "active"
            self._w.patroni.bootstrap(host)
            return True
        if not self._w.etcd.reaches(host) or not self._w.etcd.born:
            return False
        self._run(host, "patroni")
        return disk is not None

    def _run(self, host: Host, unit: str) -> None:
        if host.services.get(unit) != "active":
            self._w.nodes.start(host, unit)

    def _finish(self, host: Host) -> Verdict:
        host.phase = Phase.CONFIGURED
        for unit in self._w.nodes.units(host):
            self._run(host, unit)
        self._w.stir()
        return DONE
