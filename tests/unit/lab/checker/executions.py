"""Executions that really happened: a register, a table or a bank that works, asked by clients that
overlap and are not always told."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from lab.checker.calls import Call, CompareAndSet, ReadRegister, Result, WriteRegister
from lab.checker.history import Operation
from lab.checker.settings import INITIAL_VALUE, client_of, unique
from lab.load.history import Outcome
from tests.unit.lab.checker.builders import an_operation


def seeded(seed: int) -> random.Random:
    """Chance that comes the same again."""
    return random.Random(seed)  # noqa: S311 - not a secret


@dataclass
class Registers:
    """A database of registers that works, with a memory of every state it was in."""

    keys: int
    values: dict[int, int] = field(default_factory=dict)
    states: list[tuple[float, dict[int, int]]] = field(default_factory=list)

    def do(self, call: Call, at: float) -> Result:
        result: Result = ()
        match call:
            case ReadRegister(key=key):
                value = self.values.get(key, INITIAL_VALUE)
                result = (value, -1 if value == INITIAL_VALUE else client_of(value))
            case WriteRegister(key=key, value=value):
                self.values[key] = value
            case CompareAndSet(key=key, expected=expected, value=value):
                held = self.values.get(key, INITIAL_VALUE)
                result = (held,)
                if held == expected:
                    self.values[key] = value
            case _:
                raise TypeError(call)
        self.states.append((at, dict(self.values)))
        return result

    def go_back_to(self, moment: float) -> None:
        """What a change of the leader does that loses everything after this moment."""
        kept: dict[int, int] = {}
        for at, state in self.states:
            if at <= moment:
                kept = state
        self.values = dict(kept)


@dataclass(frozen=True)
class Failover:
    """At `at`, the state goes back to what it was at `back_to`."""

    at: float
    back_to: float


def a_call(rng: random.Random, client: int, number: int, registers: Registers) -> Call:
    key = rng.randrange(registers.keys)
    value = unique(client, number)
    match rng.randrange(3):
        case 0:
            return ReadRegister(key=key)
        case 1:
            return WriteRegister(key=key, value=value)
        case _:
            held = registers.values.get(key, INITIAL_VALUE)
            expected = held if rng.random() < 0.7 else unique(client, 999_999)
            return CompareAndSet(key=key, expected=expected, value=value)


def an_execution(
    rng: random.Random,
    *,
    clients: int,
    operations: int,
    keys: int = 1,
    unsure: float = 0.2,
    failover: Failover | None = None,
) -> list[Operation]:
    """Clients that each ask one thing after the other; every operation takes effect at one moment
    between its invocation and its completion, and those are all different.

    Of the unsure half is told to have failed and did, the rest is unknown and may have happened,
    even long after its client gave up.
    """
    registers = Registers(keys)
    free_at = [rng.random() for _ in range(clients)]
    plans: list[tuple[float, float, float, int, int]] = []
    for number in range(1, operations + 1):
        client = rng.randrange(clients)
        begin = free_at[client] + rng.random()
        effect = begin + rng.random()
        end = effect + rng.random()
        free_at[client] = end
        plans.append((effect, begin, end, client, number))
    done: list[Operation] = []
    pending = failover
    for effect, begin, end, client, number in sorted(plans):
        if pending is not None and effect > pending.at:
            registers.go_back_to(pending.back_to)
            pending = None
        call = a_call(rng, client, number, registers)
        result, outcome = _tell(rng, registers, call, effect, unsure)
        done.append(
            an_operation(
                call, begin, end, client=client, outcome=outcome, result=result, number=number
            )
        )
    return sorted(done, key=lambda it: it.invoked_at)


def _tell(
    rng: random.Random, registers: Registers, call: Call, effect: float, unsure: float
) -> tuple[Result, Outcome]:
    if rng.random() >= unsure:
        return registers.do(call, effect), Outcome.ACKED
    if rng.random() < 0.5:
        return (), Outcome.FAILED
    if rng.random() < 0.5:
        registers.do(call, effect)
    return (), Outcome.UNKNOWN
