"""EC2's status checks: what they find of a host, one round after another, or what a test wants them to say."""

from __future__ import annotations

from typing import Any

from moto.ec2.models.instances import Instance

from lab.aws.context import Context
from lab.aws.records import Records
from lab.aws.takeover import take_over_property
from lab.errors import UsageError
from lab.ports import MachineHost

VERDICTS = (None, "ok", "impaired")


class Checks:
    """Both checks of every running instance. A host that hangs without a word to EC2 is one that was told `ok`."""

    def __init__(self, context: Context, records: Records, host: MachineHost | None) -> None:
        self._context, self._records, self._host = context, records, host

    def install(self) -> None:
        """Answer for moto and begin to check."""
        for check in ("instance_status", "system_status"):
            take_over_property(Instance, check, self.status_of)
        self._context.every(
            self._context.clock.status_check_interval_s, self.check_all, what="status checks"
        )

    def say(self, instance_id: str, verdict: str | None) -> None:
        """From the next look on the checks say this whatever they find; None: what they find. Raises UsageError."""
        if verdict not in VERDICTS:
            raise UsageError("a status check says ok or impaired")
        self._records.known(instance_id).verdict = verdict

    def check_all(self) -> None:
        """One round."""
        for record in self._records.all():
            if record.instance.state != "running":
                continue
            if self._host is None or self._host.healthy(record.instance.id):
                record.failures, record.status = 0, "ok"
                continue
            record.failures += 1
            if record.failures >= self._context.clock.status_checks_to_impair:
                record.status = "impaired"

    def status_of(self, instance: Instance) -> dict[str, Any]:
        """What DescribeInstanceStatus says of either check."""
        if instance.state != "running":
            return {"Status": "not-applicable"}
        record = self._records.get(instance.id)
        status = "ok" if record is None else record.verdict or record.status
        detail = {"ok": "passed", "impaired": "failed"}.get(status, "initializing")
        return {"Status": status, "Details": [{"Name": "reachability", "Status": detail}]}
