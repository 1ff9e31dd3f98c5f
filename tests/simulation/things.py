"""What the simulated world is made of: hosts, disks, commands. Data with a few questions; it does nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from lambdas.core.model import InstanceState, Phase, Slot

FOREVER: Final = float("inf")
NEVER: Final = float("-inf")
ON_DISK: Final = frozenset({"etcd", "patroni"})
USED_SHARE: Final = 0.25  # of a disk, when nothing is wrong
BALLAST_SHARE: Final = 0.05
# What ends an ailment; each ends also what the ones before it end.
CURES: Final = ("agent", "chrony", "reboot", "move", "end")

State = tuple[str, str | None, str | None]  # a volume's state, its holder, its attachment's state


@dataclass(slots=True, kw_only=True, eq=False)
class Disk:
    """One volume tagged `current`. `wal_at` is the time up to which it holds what the leader wrote."""

    volume_id: str
    slot: Slot
    views: list[tuple[float, State]]
    holder: Host | None = None
    attached: bool = False
    lost: bool = False
    blank: bool = True
    member: int | None = None  # whose etcd directory lies on it
    database: bool = False
    timeline: int = 0
    wal_at: float = NEVER
    ails: str = ""  # its copy is "diverged", or what it needs is "wal-gone": only a new copy helps
    bad_pages: int = 0
    # the volume and the file system on it
    gib: float = 0.0
    fs_gib: float = 0.0
    used_gib: float = 0.0
    ballast_gib: float = 0.0
    hoarded: dict[str, float] = field(default_factory=dict)  # replication slot → WAL kept for it
    trouble: str = ""  # "absent" or "read-only" on its host
    cure: str = ""  # what ends that
    sound: bool = True  # it can be written now
    aside_at: float = FOREVER  # when it was taken out of use
    modified_at: float = NEVER  # when EC2 last began to change it

    @property
    def serves(self) -> bool:
        """What lies on it can run."""
        return self.attached and self.sound

    @property
    def taken_gib(self) -> float:
        """What the file system holds."""
        return self.used_gib + self.ballast_gib + sum(self.hoarded.values())

    @property
    def current(self) -> bool:
        """It is still its slot's."""
        return not self.lost and self.aside_at == FOREVER

    def seen(self, at: float) -> State | None:
        """What a description that lags behind until then says."""
        return next((state for when, state in reversed(self.views) if when <= at), None)


@dataclass(slots=True, kw_only=True, eq=False)
class Host:
    """One instance and the node on it."""

    instance_id: str
    slot: Slot
    number: int  # the slot's how manieth
    made_at: float
    launched_at: float  # EC2's LaunchTime: a start renews it
    boot_s: float
    end_s: float
    checks_s: float  # how long EC2 needs to call it impaired
    views: list[tuple[float, InstanceState]]
    by_us: bool
    disk: Disk | None = None
    # the machine
    power: bool = True
    frozen: bool = False
    up_at: float = FOREVER
    running_at: float = FOREVER
    ill_since: float | None = None
    impaired_until: float = NEVER
    verdict: bool | None = None  # a wrong word of EC2's, while `verdict_until`
    verdict_until: float = NEVER
    hands_off: bool = False
    ended_by_us_at: float | None = None
    stopped_by_us_at: float | None = None
    instance_type: str = ""
    announced: list[tuple[float, str, float]] = field(
        default_factory=list
    )  # when AWS said so, the event's code, not before when
    over_at: float = NEVER  # when nothing was announced any more
    ails: dict[str, str] = field(default_factory=dict)  # ailment → what ends it
    moved: bool = False  # stopped and started: another machine, once it has booted
    clock_off_s: float = 0.0
    # the network
    isolated: bool = False
    hidden_from: frozenset[str] = frozenset()  # slots whose probes get no answer
    hidden_until: float = NEVER
    aws_cut: bool = False
    # the agent
    agent: str = "up"  # up, down, mute
    sequence: int = 0
    phase: Phase = Phase.IDLE
    spoken: str = ""  # the last body that was sent
    told_at: float = NEVER  # when its last word reached the table as it was said
    told_body: str = ""  # that word
    telling_since: float = FOREVER  # since when such words have come without a silence
    told_ill_since: float = FOREVER  # since when its words say that something is wrong with it
    heard_at: float = NEVER  # when its last new word did, late or not
    reached_since: float = FOREVER  # a peer whose own word comes gets an answer from it
    told_well: dict[str, float] = field(
        default_factory=dict
    )  # part → since when it is told to be well
    active: dict[str, float] = field(default_factory=dict)  # unit → since when it runs
    well: dict[str, float] = field(default_factory=dict)  # part → since when it really is
    configures_failed: int = 0
    # services
    services: dict[str, str] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)  # unit → restarts that still fail
    # database
    pg: str = "down"  # down, replica, primary
    stuck: bool = False
    settling_until: float = NEVER  # rewinding, cloning or catching up
    clones: list[float] = field(default_factory=list)  # when it began a copy anew
    clones_fail: int = 0  # so many more will fail
    db_state: str = ""  # Patroni's word for it, and since when
    db_state_since: float = NEVER
    led_since: float = FOREVER
    known_to_lead: bool = False  # a healer has read a young word that named it
    named_at: float = NEVER  # when such a word last came

    @property
    def state(self) -> InstanceState:
        """EC2's truth now."""
        return self.views[-1][1]

    @property
    def stands(self) -> bool:
        """Whether it holds its slot's interface."""
        return self.state is not InstanceState.TERMINATED

    @property
    def relieved(self) -> bool:
        """It stood in for another slot's and is well: its end is planned, like a roll's."""
        return self.by_us and not self.slot.active and self.told_ill_since == FOREVER

    def seen(self, at: float) -> InstanceState | None:
        """What a description that lags behind until then says; None before it is listed."""
        views = self.views
        if views[-1][0] <= at:
            return views[-1][1]
        return next((state for when, state in reversed(views) if when <= at), None)

    def ran_since(self, at: float) -> bool:
        """It is running, and was nothing else at any time since then."""
        later = [state for when, state in self.views if when > at]
        return all(state is InstanceState.RUNNING for state in (self.seen(at), *later))

    def up(self, now: float) -> bool:
        """Its operating system runs and does something."""
        return (
            self.power
            and not self.frozen
            and now >= self.up_at
            and self.views[-1][1] is InstanceState.RUNNING
        )

    def runs(self, unit: str, now: float) -> bool:
        """The unit is active on a host that is up, and has its disk."""
        if self.services.get(unit) != "active" or not self.up(now):
            return False
        return unit not in ON_DISK or (self.disk is not None and self.disk.serves)

    def cured_by(self, what: str) -> list[str]:
        """Which of its ailments end with that; they are over."""
        reach = CURES.index(what)
        over = [name for name, cure in self.ails.items() if CURES.index(cure) <= reach]
        for name in over:
            del self.ails[name]
        return over


@dataclass(slots=True, kw_only=True, eq=False)
class Command:
    """One document sent to one host."""

    command_id: str
    host: Host
    document: str
    parameters: dict[str, str]
    comment: str
    sent_at: float
    ends_by: float
    times: int = 1
    known: bool = True  # whoever sent it got its id
    status: str = "Pending"
    exit_code: int = -1
    output: str = ""
