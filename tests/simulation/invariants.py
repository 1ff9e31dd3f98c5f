"""What must never happen, each rule by its name and with its reason, judged by the truth the healer may not see.

Where the healer cannot know yet, a rule waits until it must know: `KNOWN_S` after a thing became true and was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdas.core.model import InstanceState, Mode
from tests.simulation.things import FOREVER, NEVER, Host
from tests.simulation.watch import BOUNDED, Call, CallCheck, WorldCheck

if TYPE_CHECKING:
    from tests.simulation.world import World

KNOWN_S = 45.0
HOUR_S = 3600.0
CONFIGURES_MAX = 4  # three, and one more that ran while the healer could not hear of its end
TRIES_MAX = (
    22  # the healer stops at 15 by its own count; some of ours it takes for healed in between
)
REMOVING = frozenset({"terminate"})
STOPPING = frozenset({"terminate", "restart-service", "join-replica"})
DATABASE_SERVICES = frozenset({"patroni", "etcd"})


# -- at any time


def one_occupant_a_slot(world: World) -> str | None:
    """Two machines never hold one identity."""
    if len(world.aws.sits) == sum(1 for h in world.aws.hosts.values() if h.stands):
        return None
    standing = [h.slot.name for h in world.aws.hosts.values() if h.stands]
    twice = sorted({s for s in standing if standing.count(s) > 1})
    return f"{', '.join(twice)} has two occupants"


def one_current_disk_a_slot(world: World) -> str | None:
    """A slot has one current volume, or nobody knows which one holds its data."""
    current = [d.slot.name for d in world.aws.disks.values() if not d.lost]
    if len(current) == len(set(current)):
        return None
    twice = sorted({s for s in current if current.count(s) > 1})
    return f"{', '.join(twice)} has two current volumes"


def removals_at_once_are_bounded(world: World) -> str | None:
    """One removal of ours at a time in a region, two in the cluster."""
    going = [
        h
        for h in world.aws.hosts.values()
        if h.state is InstanceState.SHUTTING_DOWN and h.ended_by_us_at is not None
    ]
    if len(going) < 2:
        return None
    regions = [h.slot.region for h in going]
    if len(going) > 2 or len(set(regions)) < len(regions):
        return f"{', '.join(h.slot.name for h in going)} are being removed at once"
    return None


def one_database_is_ever_made(world: World) -> str | None:
    """A cluster is born once."""
    made = world.patroni.identities
    return f"{made} databases were made" if made > 1 else None


# -- at every changing call


def a_living_leader_is_never_touched(call: Call) -> str | None:
    """It is not ended at all, and nothing of its database restarted once its leading must be known."""
    host, patroni = call.host, call.world.patroni
    if host is None or call.kind not in STOPPING or not patroni.rules(host):
        return None
    if call.kind in REMOVING and host.known_to_lead:
        return f"{call.slot} really leads and is ended"
    service = call.what if call.kind == "restart-service" else "patroni"
    runs = call.world.now - host.active.get(service, FOREVER) > KNOWN_S
    known = host.known_to_lead and call.world.now - host.led_since > KNOWN_S
    if call.kind not in REMOVING and service in DATABASE_SERVICES and known and runs:
        return f"{call.slot} really leads and its {service} is restarted"
    return None


def etcd_keeps_its_majority(call: Call) -> str | None:
    """No step of ours takes a serving voter away that the majority needs."""
    etcd, slot = call.world.etcd, call.slot
    if call.kind not in STOPPING or not etcd.quorum() or not etcd.serves(slot):
        return None
    if call.world.now - etcd.answers_since < KNOWN_S:
        return None  # it has only just come back, and who knows that
    if call.kind == "restart-service" and call.what != "etcd":
        return None
    if call.kind == "join-replica" or etcd.enough_without(slot):
        return None
    since = call.world.watch.thin_since.get(slot)
    if since is None or call.world.now - since < KNOWN_S or _all_voters_look_dead(call):
        return None
    return f"etcd has no majority without {slot}"


def _all_voters_look_dead(call: Call) -> bool:
    """No other voter is heard, and EC2 calls every one impaired: only their disks on new hosts can bring etcd back."""
    read_at = call.healer.table_read_at
    others = [v.name for v in call.world.spec.voters if v.name != call.slot]
    hosts = [h for h in map(call.world.aws.occupant, others) if h and h.told_at > NEVER]
    return all(
        read_at - h.told_at > 20.0 and call.healer.verdicts.get(h.instance_id) is True
        for h in hosts
    )


def commits_keep_their_majority(call: Call) -> str | None:
    """No step of ours takes a current copy away that the majority of copies needs."""
    host, patroni = call.host, call.world.patroni
    if host is None or call.kind not in STOPPING or patroni.enough_without(call.slot):
        return None
    if call.kind == "restart-service" and call.what != "patroni":
        return None
    since, leader = host.well.get("patroni", FOREVER), patroni.primary()
    heard = leader is not None and call.healer.table_read_at - leader.told_at < 20.0
    if heard and patroni.streams(host) and call.world.now - since > KNOWN_S:
        return f"{call.slot} is a current copy and too few others are"
    return None


def the_newest_wal_is_kept(call: Call) -> str | None:
    """A disk that exists is never deleted, nor put aside by making another in its place."""
    disk = call.world.aws.disk_of(call.slot)
    if call.kind == "delete-disk":
        return f"a disk of {call.slot} is deleted"
    if call.kind == "create-disk" and disk is not None and not disk.blank:
        return f"{call.slot} has a disk with data and gets another"
    return None


def a_disk_goes_to_its_own_slot(call: Call) -> str | None:
    """Data never moves under another identity."""
    if call.kind != "attach-disk":
        return None
    owner = call.world.aws.disks[call.what].slot.name
    return None if owner == call.slot else f"{owner}'s disk is given to {call.slot}"


def people_are_obeyed(call: Call) -> str | None:
    """Nothing is done while closed, in another mode, on a tagged slot; nothing is disturbed in a pause."""
    world, healer, marks = call.world, call.healer, call.world.watch.marks
    if world.hub.closed and healer.table_read_at >= marks["closed"]:
        return f"{call.kind} on {call.slot} while the cluster is closed"
    if world.hub.mode is not Mode.AUTO and healer.table_read_at >= marks["mode"]:
        return f"{call.kind} on {call.slot} in mode {world.hub.mode}"
    host = call.host
    if host is not None and host.hands_off:
        read_at = healer.instances_read_at.get(host.slot.region, NEVER)
        if read_at >= marks.get(f"hands-off {call.slot}", FOREVER):
            return f"{call.kind} on {call.slot}, which is tagged hands-off"
    if world.patroni.paused and call.kind in STOPPING and _pause_is_known(call):
        return f"{call.kind} on {call.slot} while Patroni is paused"
    return None


def _pause_is_known(call: Call) -> bool:
    """A member's word of it lay in the table, and was young, when the healer read it."""
    since, read_at = call.world.watch.marks["pause"], call.healer.table_read_at
    telling = [
        h
        for h in call.world.patroni.hosts()
        if since + 1.0 < h.told_at <= read_at < h.told_at + 12.0
        and "patroni" in h.told_well
        and h.seen(read_at - 20.0) is InstanceState.RUNNING
        and not call.world.weather.on("patroni-hung", h.instance_id)
    ]
    return len(telling) > 1  # one word may have been overwritten by another's


def replacements_keep_their_budget(call: Call) -> str | None:
    """So many removals an hour, then a person is asked."""
    if call.kind not in REMOVING:
        return None
    recent = [at for at in call.world.watch.removed if call.world.now - at < HOUR_S]
    allowed = call.world.spec.budget.replacements_per_hour
    return f"{len(recent) + 1} removals within an hour" if len(recent) >= allowed else None


def failing_launches_keep_their_budget(call: Call) -> str | None:
    """Launches that AWS refuses are not tried for ever; those under way together count once."""
    if call.kind != "launch":
        return None
    refused = call.world.watch.refused_launches
    recent = [at for at in refused if call.world.now - at < HOUR_S]
    budget = call.world.spec.budget
    if len(recent) >= budget.failed_launches_per_hour + budget.launches_in_parallel:
        return f"{len(recent)} launches were refused within an hour and another is tried"
    return None


def a_stale_lease_never_acts(call: Call) -> str | None:
    """No step begins once another run holds the lease."""
    hub, healer = call.world.hub, call.healer
    if healer.token is None:
        return f"{call.kind} on {call.slot} without a lease"
    taken = not hub.holds(healer.owner, healer.token)
    if taken and hub.lease.taken_at < healer.intended_at:
        return f"run {healer.number} does {call.kind} on {call.slot}; {hub.lease.owner} holds the lease"
    return None


def who_speaks_is_not_ended(call: Call) -> str | None:
    """A host whose agent's word came within the silence that counts is alive."""
    host, read_at = call.host, call.healer.table_read_at
    if host is None or call.kind not in REMOVING or host.told_at > read_at:
        return None  # what was said after the healer read it cannot have known
    silent_s = read_at - host.told_at
    limit_s = call.world.spec.timings.agent_silent_after_s - call.world.watch.clocks_apart_s()
    if silent_s < limit_s:
        return f"{call.slot}'s agent had spoken {silent_s:.0f} s before, and the host is ended"
    return None


def who_is_reached_is_not_ended(call: Call) -> str | None:
    """A host that answers a peer whose own word comes is alive; and one peer's word against it is not enough."""
    host, world = call.host, call.world
    if host is None or call.kind not in REMOVING:
        return None
    heard = world.watch.heard(host, 12.0)
    # The host of an agent that has never spoken is only known to live when the agent itself answers.
    lives = ("alive",) if host.told_at == NEVER else ("alive", "refused")
    answered = [
        h.slot.name
        for h in heard
        if world.agents.sees(h, call.slot) in lives
        and world.hub.reports.get(h.slot.name) == h.told_body  # and nothing odd has come since
    ]
    if answered and world.now - host.reached_since > KNOWN_S:
        return f"{call.slot} answers {', '.join(answered)} and is ended"
    witnesses = len(world.watch.heard(host, 30.0 + world.watch.gap_s()))
    if host.told_at > NEVER and witnesses < 2:
        return f"{call.slot} is ended on the word of {witnesses} peers"
    return None


def who_follows_is_not_ended(call: Call) -> str | None:
    """A copy that the leader hears, and says so, is alive."""
    host, patroni = call.host, call.world.patroni
    leader, read_at = patroni.primary(), call.healer.table_read_at
    if host is None or leader is None or call.kind not in REMOVING or not patroni.streams(host):
        return None
    since = max(host.well.get("patroni", FOREVER), leader.told_at - 5.0)
    if since < leader.told_at <= read_at < leader.told_at + 12.0 and read_at - since > 5.0:
        return f"{call.slot} follows {leader.slot.name}, which says so, and is ended"
    return None


def who_ec2_calls_well_is_not_ended(call: Call) -> str | None:
    """A blip that EC2's checks pass replaces nothing: who has spoken is only ended when EC2 calls it impaired."""
    host = call.host
    if host is None or call.kind not in REMOVING or host.told_at == NEVER:
        return None
    verdict = call.healer.verdicts.get(host.instance_id)
    if verdict is not True and host.state is InstanceState.RUNNING:
        return f"EC2's word on {call.slot} is {verdict} and the host is ended"
    return None


def the_young_have_their_grace(call: Call) -> str | None:
    """A host that never spoke is given its time to boot."""
    host = call.host
    if host is None or call.kind not in REMOVING or max(host.told_at, host.heard_at) > NEVER:
        return None
    age_s = call.world.now - host.launched_at
    grace_s = call.world.spec.timings.boot_grace_s
    return f"{call.slot} is {age_s:.0f} s old and is ended" if age_s < grace_s - 21.0 else None


def what_is_well_is_left_alone(call: Call) -> str | None:
    """A service that works, and is told to work, is not restarted."""
    host = call.host
    if host is None or call.kind not in ("restart-service", "join-replica"):
        return None
    service = call.what if call.kind == "restart-service" else "patroni"
    if _long_well(host, service, call):
        return f"{service} on {call.slot} has been well for long and is restarted"
    return None


def a_birth_is_declared_once(call: Call) -> str | None:
    """Once born, nothing may initdb."""
    marks, read_at = call.world.watch.marks, call.healer.table_read_at
    if call.kind == "declare-birth" and read_at >= marks.get("birth", FOREVER):
        return "a birth is declared where there is one"
    as_for_birth = call.kind == "configure-node" and call.what == "yes"
    if as_for_birth and read_at >= marks.get("born", FOREVER):
        return f"{call.slot} is configured as for a birth, and the cluster is born"
    return None


def an_occupied_slot_is_not_filled(call: Call) -> str | None:
    """Unknown is not empty: nothing is launched where an instance has long stood."""
    host = call.host
    if call.kind != "launch" or host is None or call.world.now - host.made_at < KNOWN_S:
        return None
    return f"{call.slot} is {host.state} and another instance is launched"


def launches_in_parallel_are_bounded(call: Call) -> str | None:
    """So many instances start at once."""
    if call.kind != "launch":
        return None
    starting = [
        h.slot.name
        for h in call.world.aws.hosts.values()
        if h.state is InstanceState.PENDING and h.by_us
    ]
    allowed = call.world.spec.budget.launches_in_parallel
    return f"{len(starting) + 1} launches at once" if len(starting) >= allowed else None


def a_slot_is_not_disturbed_for_ever(call: Call) -> str | None:
    """What many steps did not heal, a person looks at."""
    tries = call.world.watch.tries.get(call.slot, 0)
    if call.kind in BOUNDED and tries >= TRIES_MAX:
        return f"{tries} steps did not heal {call.slot} and one more is taken"
    return None


def configuring_fails_only_so_often(call: Call) -> str | None:
    """An instance that could not be configured is not configured for ever."""
    host = call.host
    if host is None or call.kind != "configure-node" or host.configures_failed <= CONFIGURES_MAX:
        return None
    return f"{call.slot} could not be configured {host.configures_failed} times and is again"


def one_document_at_a_time(call: Call) -> str | None:
    """A node works on one document of ours."""
    host = call.host
    if host is None or not call.comment or call.what == "pgmend-agent":
        return None
    going = [
        c.document
        for c in call.world.documents.commands.values()
        if c.host is host
        and c.status in ("Pending", "InProgress")
        and c.comment != call.comment
        and c.known
        and c.sent_at > host.up_at  # what was sent before a reboot is over
    ]
    return f"{call.slot} works on {going[0]} and gets {call.kind}" if going else None


def a_document_is_sent_once(call: Call) -> str | None:
    """The same step, taken again after a crash, finds what was sent."""
    if not call.comment:
        return None
    sent = call.world.documents.commands.values()
    began_at = (
        call.healer.intended_at
    )  # what another run sends while this step is under way is a race
    twice = any(
        c.comment == call.comment and c.host is call.host and c.sent_at < began_at for c in sent
    )
    return f"{call.comment} is sent twice" if twice else None


def nothing_is_restarted_on_an_older_word(call: Call) -> str | None:
    """After a restart the node speaks before it is restarted again."""
    host = call.host
    if host is None or call.kind not in ("restart-service", "join-replica"):
        return None
    unit = call.what or "patroni"
    ended_at = call.world.watch.restarted_at.get((call.slot, unit), NEVER)
    if unit == "pgmend-agent" or host.told_at > ended_at or host.made_at > ended_at:
        return None
    return f"{unit} on {call.slot} was restarted, nothing was heard since, and it is again"


def _long_well(host: Host, service: str, call: Call) -> bool:
    """The service has really been well, and been told so, for so long that the healer must know."""
    now = call.world.now
    well, told = host.well.get(service), host.told_well.get(service)
    return (
        well is not None
        and told is not None
        and now - max(well, told) > KNOWN_S
        and now - host.told_at < 12.0
    )


ON_CALLS: tuple[CallCheck, ...] = (
    a_living_leader_is_never_touched,
    etcd_keeps_its_majority,
    commits_keep_their_majority,
    the_newest_wal_is_kept,
    a_disk_goes_to_its_own_slot,
    people_are_obeyed,
    replacements_keep_their_budget,
    failing_launches_keep_their_budget,
    a_stale_lease_never_acts,
    who_speaks_is_not_ended,
    who_is_reached_is_not_ended,
    who_follows_is_not_ended,
    who_ec2_calls_well_is_not_ended,
    the_young_have_their_grace,
    what_is_well_is_left_alone,
    a_birth_is_declared_once,
    an_occupied_slot_is_not_filled,
    launches_in_parallel_are_bounded,
    a_slot_is_not_disturbed_for_ever,
    configuring_fails_only_so_often,
    one_document_at_a_time,
    a_document_is_sent_once,
    nothing_is_restarted_on_an_older_word,
)
ALWAYS: tuple[WorldCheck, ...] = (
    one_occupant_a_slot,
    one_current_disk_a_slot,
    removals_at_once_are_bounded,
    one_database_is_ever_made,
)
