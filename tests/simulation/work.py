"""What the documents do on a node: with the node's own guards, as `pgmend-node` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdas.core.model import Phase, Role
from tests.simulation.things import Command, Disk, Host

if TYPE_CHECKING:
    from tests.simulation.world import World

Verdict = tuple[int, str]  # exit code and message
DONE: Verdict = (0, "done")
ALWAYS_ALLOWED = frozenset({"pgmend-agent", "chrony"})


class Work:
    """The verbs."""

    def __init__(self, world: World) -> None:
        self._w = world

    def verdict(self, command: Command) -> Verdict:  # noqa: C901, PLR0911 - one switch
        """Do it, or say why not."""
        host = command.host
        verb = command.document.removeprefix("pgmend-")
        if verb == "configure-node":
            return self._configure(command)
        if verb == "restart-service":
            return self._restart(command)
        if host.phase is not Phase.CONFIGURED:
            return 10, "not configured"
        match verb:
            case "join-replica":
                return self._join(host)
            case "reinit-replica":
                return self._reinit(host)
            case "switchover":
                return self._switchover(host, command.parameters["To"])
            case "drop-replication-slot":
                return self._drop(host, command.parameters["ReplicationSlot"])
            case "repair-etcd":
                return self._repair(host)
            case "replace-etcd-member":
                return self._replace(host)
            case "grow-file-system" | "release-ballast":
                return self._disk(host, verb)
            case _:
                raise AssertionError(f"nobody has told the world of {command.document}")

    # -- disks

    def _disk(self, host: Host, verb: str) -> Verdict:
        disk = host.disk
        if disk is None or not disk.attached or disk.trouble:
            return 1, "the disk is not mounted to be written"
        if verb == "grow-file-system":
            self._w.storage.widen(disk)
        else:
            self._w.storage.release_ballast(disk)
        return DONE

    # -- copies

    def _join(self, host: Host) -> Verdict:
        patroni = self._w.patroni
        if patroni.leads(host):
            return 10, "it leads"
        if patroni.streams(host):
            return DONE
        if host.disk is not None and not host.disk.database and host.pg == "replica":
            return 10, "it is being cloned"
        if host.stuck or host.pg == "down" or host.services.get("patroni") != "active":
            self._w.nodes.restart(host, "patroni")
        return 1, "it does not stream yet"

    def _reinit(self, host: Host) -> Verdict:
        patroni, leader = self._w.patroni, self._w.patroni.primary()
        if patroni.leads(host):
            return 10, "it leads"
        if leader is None or not leader.up(self._w.now) or patroni.leader_name() is None:
            return 10, "there is no leader to clone from"
        if not host.runs("patroni", self._w.now):
            return 1, "Patroni does not answer"
        patroni.reinit(host)
        return DONE

    def _switchover(self, host: Host, to: str) -> Verdict:
        patroni, heir = self._w.patroni, self._w.aws.occupant(to)
        if patroni.leader_name() == to:
            return DONE
        if not patroni.rules(host) or patroni.paused or not host.runs("patroni", self._w.now):
            return 10, "it does not lead, or Patroni is paused"
        if heir is None or not patroni.streams(heir):
            return 10, f"{to} does not follow"
        self._w.watch.switched_over(host, heir)
        patroni.switch(host, heir)
        return DONE

    def _drop(self, host: Host, name: str) -> Verdict:
        disk = host.disk
        if disk is None or not self._w.patroni.leads(host):
            return 10, "it does not lead"
        if name not in disk.hoarded:
            return DONE
        self._w.storage.drop(disk, name)
        return DONE

    # -- etcd

    def _repair(self, host: Host) -> Verdict:
        slot, etcd = host.slot.name, self._w.etcd
        if etcd.alarms.get(slot) == "CORRUPT":
            return 10, "what is corrupt cannot be repaired"
        if not etcd.reaches(host):
            return 1, "etcd does not answer"
        etcd.alarms.pop(slot, None)
        self._w.stir()
        return DONE

    def _replace(self, host: Host) -> Verdict:
        slot, etcd, disk = host.slot.name, self._w.etcd, host.disk
        if disk is None or not disk.serves:
            return 1, "the disk cannot be written"
        if etcd.is_well(host):
            return DONE
        if not (etcd.reaches(host) and etcd.enough_without(slot)):
            return 10, "the other members are no majority"
        self._seat_anew(host, disk)
        return DONE

    def _seat_anew(self, host: Host, disk: Disk) -> None:
        slot, etcd = host.slot.name, self._w.etcd
        disk.member = etcd.take_seat(slot)
        self._run(host, "etcd")
        self._w.time.after(6.0, lambda: etcd.promote(slot))

    # -- restart

    def _restart(self, command: Command) -> Verdict:
        host, unit = command.host, command.parameters["Service"]
        if unit in ALWAYS_ALLOWED:
            self._w.nodes.restart_always(host, unit)
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
        if unit == "etcd" and not etcd.is_well(host):
            return None  # it serves nobody as it is
        if self._w.patroni.leads(host):
            return "a living leader is never restarted"
        if unit == "etcd" and not etcd.enough_without(host.slot.name):
            return "etcd's majority needs this member"
        return None

    # -- configure

    def _configure(self, command: Command) -> Verdict:
        host = command.host
        if host.slot.disk is None:
            return self._finish(host)
        disk = host.disk
        if (
            disk is None
            or not disk.attached
            or disk.trouble
            or disk.volume_id != command.parameters["VolumeId"]
        ):
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
        if birthing and disk.member is None and etcd.awaits(slot):
            disk.member = etcd.found(slot)
            self._run(host, "etcd")
            return True
        if not (etcd.reaches(host) and etcd.enough_without(slot)):
            return False
        self._seat_anew(host, disk)
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
