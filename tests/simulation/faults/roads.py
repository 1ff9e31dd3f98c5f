"""Faults of what lies between the healer and the nodes: AWS's interfaces, commands, reports, events."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.faults.base import (
    ANYBODY,
    Fault,
    Kind,
    Strike,
    dice_of,
    kind,
    on_host,
    slot_weather,
    weather,
)
from tests.simulation.faults.machines import REGIONS
from tests.simulation.things import Host

if TYPE_CHECKING:
    from tests.simulation.world import World

HUB = ("",)
LATE_S = 90.0  # no report is on its way for longer


def _verdict(*, verdict: bool | None, words: str) -> Strike:
    def strike(world: World, fault: Fault, host: Host) -> str | None:
        host.verdict, host.verdict_until = verdict, world.now + fault.for_s
        world.stir()
        return f"EC2 wrongly {words} {host.slot.name} for {fault.for_s:.0f} s"

    return on_host(strike)


def _aws_cut(world: World, fault: Fault, host: Host) -> str | None:
    if host.aws_cut:
        return None
    host.aws_cut = True
    world.time.after(fault.for_s, lambda: _speaks_again(world, host))
    world.stir()
    return f"{host.slot.name} cannot reach AWS for {fault.for_s:.0f} s"


def _malformed(world: World, fault: Fault, host: Host) -> str | None:
    slot, cluster = host.slot.name, world.spec.cluster
    odd = dice_of(world, fault).choice(
        (
            "",
            "{",
            "[]",
            json.dumps({"version": 2, "cluster": cluster, "slot": slot}),
            json.dumps({"version": 1, "cluster": cluster, "slot": "db-euw9-z"}),
            json.dumps({"version": 1, "cluster": cluster, "slot": slot, "sequence": "7"}),
        )
    )
    world.weather.begin("report-malformed", slot, world.now + fault.for_s, word=odd)
    return f"{slot}'s reports are {odd!r} for {fault.for_s:.0f} s"


def _retired(world: World, fault: Fault) -> str | None:
    """The last word of an instance that is just gone lies in its successor's place."""
    gone = [
        h
        for h in world.aws.hosts.values()
        if not h.stands and h.spoken and world.now - h.views[-1][0] < LATE_S
    ]
    if not gone:
        return None
    host = dice_of(world, fault).choice(gone)
    world.hub.put_report(host.slot.name, host.spoken)
    return f"the last report of {host.instance_id}, long gone, arrives"


def _old_word(world: World, fault: Fault, host: Host) -> str | None:
    """A report that was on its way for long replaces a younger one."""
    body = host.spoken
    if not body or host.agent != "up" or not host.up(world.now):
        return None
    slot = host.slot.name
    world.time.after(fault.for_s, lambda: world.agents.late(host, body))
    return f"{slot}'s report will arrive once more in {fault.for_s:.0f} s"


SIGNS = ("all", "most", "most", "one", "none")
VERDICTS = (True, True, True, False, None)
SHY = ("any", "proxy", "app", "replica", "voter", "leader")


def _look_dead(
    world: World, host: Host, until: float, *, signs: tuple[bool, str, bool | None]
) -> str:
    """A host that is well gives off signs of death: no reports, no answer to peers, EC2's word."""
    cut, shown, verdict = signs
    others = [s.name for s in world.spec.slots if s.active and s is not host.slot]
    by = {"all": others, "most": others[:-1], "one": others[:1], "none": []}[shown]
    host.hidden_from, host.hidden_until = frozenset(by), until
    host.verdict, host.verdict_until = verdict, until
    if cut:
        host.aws_cut = True
        world.time.at(until, lambda: _speaks_again(world, host))
    world.stir()
    reports = "its reports do not come; " if cut else ""
    return f"{reports}{shown} of its peers get no answer; EC2 says impaired: {verdict}"


def _speaks_again(world: World, host: Host) -> None:
    host.aws_cut = False
    world.stir()


def _illness(world: World, fault: Fault, host: Host) -> str | None:
    """Most signs of death, or all."""
    dice = dice_of(world, fault)
    if not host.up(world.now) or host.agent != "up":
        return None
    until = world.now + fault.for_s
    signs = (dice.random() < 0.8, dice.choice(SIGNS), dice.choice(VERDICTS))
    words = _look_dead(world, host, until, signs=signs)
    if (
        signs[1] == "most" and dice.random() < 0.5
    ):  # the one that gets an answer is where EC2 is silent
        world.weather.begin("ec2-silent", world.spec.slots[-1].region, until)
    return f"{host.slot.name} is well, but {words}, for {fault.for_s:.0f} s"


def _unseen_leader(world: World, fault: Fault, host: Host) -> str | None:
    """A copy looks dead, and then leads."""
    old = world.patroni.primary()
    if old is None or not world.patroni.streams(host):
        return None
    _look_dead(world, host, world.now + fault.for_s, signs=(True, "all", True))

    def switch() -> None:
        if world.patroni.primary() is not old or not world.patroni.streams(host):
            return
        world.patroni.switch(old, host)
        if fault.amount < 0.5 and not old.aws_cut:  # the old leader's last word is that it leads
            old.aws_cut = True
            world.time.after(30.0, lambda: _speaks_again(world, old))

    world.time.after(22.0, switch)
    return f"{host.slot.name} looks dead for {fault.for_s:.0f} s and will lead in 22 s"


def _lonely_leader(world: World, fault: Fault, host: Host) -> str | None:
    """The leader looks dead, and nobody who could name it is heard."""
    until = world.now + fault.for_s
    if not world.patroni.leads(host):
        return None
    _look_dead(world, host, until, signs=(True, "all", True))
    for other in world.patroni.hosts():
        if other is not host and not other.aws_cut:
            other.aws_cut = True
            world.time.at(until, partial(_speaks_again, world, other))
    return f"{host.slot.name} looks dead and no copy is heard for {fault.for_s:.0f} s"


def _born_mute(world: World, fault: Fault, host: Host) -> str | None:
    """The slot's next occupant cannot reach AWS for long."""
    world.weather.begin("born-mute", host.slot.name, world.now + fault.for_s, amount=320.0)
    world.aws.terminate(host)
    return f"AWS terminates {host.slot.name}; its successor will not reach AWS for 320 s"


def _few_speak(world: World, fault: Fault) -> str | None:
    """The words of all but one do not come."""
    hosts = list(world.aws.sits.values())
    heard = dice_of(world, fault).choice(hosts) if hosts else None
    silenced = [h for h in hosts if h is not heard and not h.aws_cut]
    for host in silenced:
        host.aws_cut = True

    for host in silenced:
        world.time.after(fault.for_s, partial(_speaks_again, world, host))
    world.stir()
    name = "nobody" if heard is None else heard.slot.name
    return f"only {name} reaches AWS for {fault.for_s:.0f} s"


_kind = partial(kind, "roads")


def _ends_at_once(world: World, fault: Fault, host: Host) -> str | None:
    """AWS ends a host, and every new instance of its slot as soon as it starts."""
    world.weather.begin("ends-at-once", host.slot.name, world.now + fault.for_s)
    world.aws.terminate(host)
    return f"AWS terminates {host.slot.name} and for {fault.for_s:.0f} s whatever takes its place"


def _forbidden(world: World, fault: Fault) -> str | None:
    """Launches are refused in a region where one is needed."""
    hosts = [h for h in world.aws.sits.values() if h.slot.region == fault.where and h.disk is None]
    world.weather.begin("launch-forbidden", fault.where, world.now + fault.for_s)
    for host in hosts:
        world.aws.terminate(host)
    ended = f"AWS terminates {len(hosts)} hosts of {fault.where}"
    return f"{ended} and forbids to launch others for {fault.for_s:.0f} s" if hosts else None


ROADS: tuple[Kind, ...] = (
    _kind("ends-at-once", 0.4, ANYBODY, (60, 400), on_host(_ends_at_once)),
    _kind("launch-forbidden", 0.3, REGIONS, (100, 500), _forbidden),
    _kind("illness", 3, SHY, (40, 150), on_host(_illness)),
    _kind("unseen-leader", 1, ("replica",), (60, 150), on_host(_unseen_leader), amount=(0, 1)),
    _kind("lonely-leader", 1, ("leader",), (60, 150), on_host(_lonely_leader)),
    _kind("born-mute", 0.6, ANYBODY, (100, 200), on_host(_born_mute)),
    _kind("few-speak", 1, HUB, (20, 90), _few_speak),
    _kind(
        "ec2-calls-impaired", 2, ANYBODY, (20, 200), _verdict(verdict=True, words="calls impaired")
    ),
    _kind(
        "ec2-has-no-verdict", 2, ANYBODY, (20, 200), _verdict(verdict=None, words="has no word on")
    ),
    _kind("ec2-calls-well", 1, ANYBODY, (20, 120), _verdict(verdict=False, words="calls well")),
    _kind(
        "ec2-silent",
        2,
        REGIONS,
        (5, 60),
        weather("ec2-silent", "EC2 in {where} is silent for {for_s:.0f} s"),
    ),
    _kind(
        "ec2-throttled",
        2,
        REGIONS,
        (10, 90),
        weather("ec2-throttled", "EC2 in {where} refuses calls"),
    ),
    _kind(
        "describe-lags",
        3,
        REGIONS,
        (20, 120),
        weather("describe-lag", "EC2 in {where} shows what was {amount:.0f} s ago"),
        amount=(3, 14),
    ),
    _kind(
        "no-capacity", 2, ANYBODY, (20, 200), slot_weather("no-capacity", "no capacity for {where}")
    ),
    _kind(
        "answer-lost",
        3,
        HUB,
        (60, 60),
        weather("answer-lost", "the answer of the next changing call is lost"),
    ),
    _kind("ssm-silent", 2, REGIONS, (5, 60), weather("ssm-silent", "SSM in {where} is silent")),
    _kind("ssm-slow", 2, REGIONS, (20, 120), weather("ssm-slow", "SSM in {where} delivers slowly")),
    _kind("ssm-lost", 1.5, REGIONS, (10, 60), weather("ssm-lost", "SSM in {where} loses commands")),
    _kind(
        "ssm-failing", 1, REGIONS, (10, 120), weather("ssm-failing", "documents in {where} fail")
    ),
    _kind(
        "ssm-doubled",
        2,
        REGIONS,
        (20, 120),
        weather("ssm-doubled", "SSM in {where} runs commands twice"),
    ),
    _kind(
        "ssm-amnesia",
        1.5,
        REGIONS,
        (5, 40),
        weather("ssm-amnesia", "SSM in {where} knows no command"),
    ),
    _kind("aws-cut", 3, ANYBODY, (10, 120), on_host(_aws_cut)),
    _kind(
        "reports-lost", 2, REGIONS, (10, 90), weather("reports-lost", "reports of {where} are lost")
    ),
    _kind(
        "report-late",
        2,
        ANYBODY,
        (20, 90),
        slot_weather("report-late", "every other report of {where} is {amount:.0f} s late"),
        amount=(3, 40),
    ),
    _kind(
        "report-frozen",
        2,
        ANYBODY,
        (10, 60),
        slot_weather("report-frozen", "{where} repeats its last report"),
    ),
    _kind("report-malformed", 2, ANYBODY, (10, 90), on_host(_malformed)),
    _kind("retired-report", 3, HUB, (0, 0), _retired),
    _kind("old-report", 3, ANYBODY, (6, 60), on_host(_old_word)),
    _kind("events-lost", 3, HUB, (5, 90), weather("events-lost", "events are lost")),
    _kind(
        "events-late",
        2,
        HUB,
        (5, 60),
        weather("events-late", "events are {amount:.0f} s late"),
        amount=(2, 50),
    ),
    _kind("events-doubled", 2, HUB, (5, 60), weather("events-doubled", "events come twice")),
    _kind("ticks-lost", 1, HUB, (60, 130), weather("ticks-lost", "the minute tick does not come")),
)
