"""Entry point of the healer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.compose import Deployment, SystemClock
from lambdas.errors import MalformedEventError
from lambdas.run import Run
from lambdas.wake import read_wake

logger = Logger(service="pgmend-healer")
metrics = Metrics(namespace="pgmend", service="healer")


@cache
def deployment() -> Deployment:
    """The container's adapters."""
    return Deployment.from_env()


@metrics.log_metrics
def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, object]:
    """Look, and heal. Raises MalformedEventError for what no contract knows."""
    try:
        wake = read_wake(event)
    except MalformedEventError:
        metrics.add_metric(name="MalformedEvents", unit=MetricUnit.Count, value=1)
        raise
    here, clock = deployment(), SystemClock()
    world = here.world()
    if wake.at is not None and clock.now() - wake.at > world.spec.timings.wake_stale_after_s:
        metrics.add_metric(name="StaleWakes", unit=MetricUnit.Count, value=1)
        return {"version": 1, "sentence": f"ignored a stale wake: {wake}", "looks": 0}
    run = Run(
        world=world,
        bus=here.bus(),
        metrics=here.metrics(),
        clock=clock,
        wake=str(wake),
        remaining_s=lambda: context.get_remaining_time_in_millis() / 1000,
        log=lambda sentence, extra: logger.info(sentence, extra={"wake": str(wake), **extra}),
    )
    return run.go().as_json()
