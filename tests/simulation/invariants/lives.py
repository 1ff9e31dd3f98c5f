"""Nobody who lives is ended or stopped for nothing, and a leader not at all."""

from __future__ import annotations

from lambdas.core.model import PING_LOST_S, InstanceState, Phase
from tests.simulation.invariants.common import (
    FOREVER,
    HARMLESS,
    KNOWN_S,
    MACHINE,
    NEVER,
    REMOVING,
    STOPPING,
    YOUNG_S,
    asked_for,
    has_spoken,
    long_well,
    says_it_is_ill,
    silent_s,
    tried_less,
)
from tests.simulation.things import Host
from tests.simulation.watch import Call, CallCheck


def a_living_leader_is_never_touched(call: Call) -> str | None:
    """It is not ended, stopped or made anew, nor its database restarted once it must be known to lead.

    Its etcd member is no part of it: Patroni asks whichever member answers, so what protects any other member
    protects this one (`etcd_keeps_its_majority`, `what_is_well_is_left_alone`).
    """
    host, patroni = call.host, call.world.patroni
    if host is None or call.kind not in STOPPING or not patroni.rules(host):
        return None
    if call.kind in MACHINE and host.known_to_lead:
        return f"{call.slot} really leads and gets a {call.kind}"
    service = call.what if call.kind == "restart-service" else "patroni"
    runs = call.world.now - host.active.get(service, FOREVER) > KNOWN_S
    known = host.known_to_lead and call.world.now - host.led_since > KNOWN_S
    if call.kind not in MACHINE and service == "patroni" and known and runs:
        return f"{call.slot} really leads and its {service} gets a {call.kind}"
    return None


def who_speaks_is_not_ended(call: Call) -> str | None:
    """A host whose agent's word came within the silence that counts is alive."""
    host, read_at = call.host, call.healer.table_read_at
    if host is None or call.kind not in REMOVING or host.told_at > read_at:
        return None  # what was said after the healer read it cannot have known
    if asked_for(call, host) or tried_less(call):
        return None
    silent_s = read_at - host.told_at
    limit_s = call.world.spec.timings.agent_silent_after_s - call.world.watch.ages_off_s()
    if silent_s < limit_s:
        return f"{call.slot}'s agent had spoken {silent_s:.0f} s before, and the host is ended"
    return None


def who_is_reached_is_not_ended(call: Call) -> str | None:
    """A host that answers a peer whose own word comes is alive; and one peer's word against it is not enough."""
    host, world = call.host, call.world
    if host is None or call.kind not in REMOVING or asked_for(call, host) or tried_less(call):
        return None
    heard = world.watch.heard(host, 12.0)
    # The host of an agent that has never spoken is only known to live when the agent itself answers.
    lives = ("alive", "refused") if has_spoken(call, host) else ("alive",)
    answered = [
        h.slot.name
        for h in heard
        if world.agents.sees(h, call.slot) in lives
        and world.hub.reports.get(h.slot.name) == h.told_body  # and nothing odd has come since
    ]
    if answered and world.now - host.reached_since > KNOWN_S:
        return f"{call.slot} answers {', '.join(answered)} and is ended"
    witnesses = len(_witnesses(call, host))
    if has_spoken(call, host) and witnesses < 2:
        return f"{call.slot} is ended on the word of {witnesses} peers"
    return None


def _witnesses(call: Call, host: Host) -> set[str]:
    """The other slots whose word may count: also that of one that is gone by now, if it was young when it was read."""
    world, read, read_at = call.world, call.healer.reports_read, call.healer.table_read_at
    last_words = {
        h.slot.name
        for h in world.aws.hosts.values()
        if h.slot.name != host.slot.name
        and h.phase is Phase.CONFIGURED
        and read.get(h.slot.name) == h.told_body
        and read_at - h.told_at < YOUNG_S
    }
    within_s = 30.0 + call.healer.gap_s + world.now - read_at
    return last_words | {h.slot.name for h in world.watch.heard(host, within_s)}


def who_follows_is_not_ended(call: Call) -> str | None:
    """A copy that the leader hears, and says so in a word that lies there, is alive."""
    host, patroni = call.host, call.world.patroni
    leader, read_at = patroni.primary(), call.healer.table_read_at
    if host is None or leader is None or call.kind not in REMOVING or not patroni.streams(host):
        return None
    if asked_for(call, host) or tried_less(call) or "patroni" not in leader.told_well:
        return None  # nor does a leader's agent that gets no answer from PostgreSQL say so
    if call.healer.reports_read.get(leader.slot.name) != leader.told_body:
        return None  # what it said is covered by something odd
    since = max(host.well.get("patroni", FOREVER), leader.told_at - 5.0)
    if since < leader.told_at <= read_at < leader.told_at + 12.0 and read_at - since > 5.0:
        return f"{call.slot} follows {leader.slot.name}, which says so, and is ended"
    return None


def who_ec2_calls_well_is_not_ended(call: Call) -> str | None:
    """A blip that EC2's checks pass replaces nothing: who has spoken is only ended when EC2 calls it impaired."""
    host = call.host
    if host is None or call.kind not in REMOVING or not has_spoken(call, host):
        return None
    if asked_for(call, host) or tried_less(call):
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


def less_is_tried_first(call: Call) -> str | None:
    """A machine whose agent speaks is stopped after a reboot, and ended after one or the other did not help."""
    host = call.host
    if host is None or call.kind not in ("terminate", "stop") or asked_for(call, host):
        return None
    limit_s = call.world.spec.timings.agent_silent_after_s - call.world.watch.ages_off_s()
    spoke = NEVER < host.told_at <= call.healer.table_read_at
    if spoke and silent_s(call, host) < limit_s and not tried_less(call):
        return f"{call.slot} gets a {call.kind}, and nothing less was tried"
    return None


def a_machine_is_disturbed_for_a_reason(call: Call) -> str | None:
    """A host is rebooted or stopped for its own word, EC2's, an order, or a silence that lasted."""
    host = call.host
    if host is None or call.kind not in ("stop", "reboot") or asked_for(call, host):
        return None
    if says_it_is_ill(call, host) or tried_less(call):
        return None
    if host.told_at > call.healer.table_read_at:
        return None  # it has only just broken its silence
    lasted_s = call.world.spec.timings.unreachable_after_s - call.world.watch.ages_off_s()
    if silent_s(call, host) > lasted_s - 21.0:
        return None
    return f"{call.slot} is well as far as it says, and gets a {call.kind}"


def a_region_that_is_only_cut_off_is_left_alone(call: Call) -> str | None:
    """Where nobody is heard, by SSM neither, and EC2 calls nobody ill, the way to AWS is lost: nothing is disturbed.

    One that was not running a while ago, and may just have been started by the same look, is no such silence.
    """
    host = call.host
    if host is None or call.kind not in STOPPING:
        return None
    read_at, verdicts = call.healer.table_read_at, call.healer.verdicts
    others = [
        h
        for h in call.world.aws.sits.values()
        if h.slot.region == host.slot.region and h.slot.active
    ]
    # A word that waited for a reader is new when it is read, and what it says is down may be started.
    limit_s = call.world.spec.timings.agent_silent_after_s + call.healer.gap_s
    limit_s += call.world.watch.ages_off_s()
    cut = all(
        h.told_at > NEVER
        and read_at - max(h.told_at, h.heard_at) > limit_s + KNOWN_S
        and h.ran_since(read_at - KNOWN_S)
        and verdicts.get(h.instance_id) is not True
        for h in others
    )
    long_s = PING_LOST_S - call.world.watch.ages_off_s(2 * PING_LOST_S)
    seen = any(
        read_at - h.told_at > long_s and call.world.documents.sees(h) for h in others
    )  # SSM's word is new enough by then: it has a way to AWS whose agent has long been silent
    ill = verdicts.get(host.instance_id) is True  # one that stands in for another may be
    if len(others) < 2 or not cut or seen or ill:
        return None
    return f"nobody in {host.slot.region} is heard, EC2 calls nobody ill, and {call.slot} gets a {call.kind}"


def what_is_well_is_left_alone(call: Call) -> str | None:
    """A service that works, and is told to work, is not restarted."""
    host = call.host
    if host is None or call.kind not in ("restart-service", "join-replica", "reinit-replica"):
        return None
    if call.what in HARMLESS:
        return None
    service = call.what if call.kind == "restart-service" else "patroni"
    if long_well(host, service, call):
        return f"{service} on {call.slot} has been well for long and is restarted"
    return None


CALLS: tuple[CallCheck, ...] = (
    a_living_leader_is_never_touched,
    who_speaks_is_not_ended,
    who_is_reached_is_not_ended,
    who_follows_is_not_ended,
    who_ec2_calls_well_is_not_ended,
    the_young_have_their_grace,
    less_is_tried_first,
    a_machine_is_disturbed_for_a_reason,
    a_region_that_is_only_cut_off_is_left_alone,
    what_is_well_is_left_alone,
)
