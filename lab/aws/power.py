"""Power of whole regions and zones, as an outage of AWS takes it and gives it back.

EC2 goes on calling the instances there running; its status checks find them impaired a few rounds later. Nothing is
launched, started or attached where there is no power, and a launch that is under way fails. When power is back, the
host of every instance that EC2 still calls running boots by itself, with its disks as they were; the checks say ok
again at their next round. Volumes and interfaces stay where they are all the time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from moto.ec2.exceptions import EC2ClientError

from lab.aws.context import log
from lab.aws.launches import SENTENCES
from lab.aws.records import Record, Records
from lab.errors import LabError
from lab.ports import MachineHost

AT_ONCE = 16


class Power:
    """Where there is none. Thread-safe."""

    def __init__(self, records: Records, host: MachineHost | None) -> None:
        self._records, self._host = records, host
        self._off: frozenset[tuple[str, str | None]] = frozenset()
        self._lock = threading.Lock()

    def dark(self, zone: str) -> bool:
        """Whether hosts of the zone have no power."""
        return any(zone == dark or (dark is None and zone[:-1] == r) for r, dark in self._off)

    def off(self, region: str, zone: str | None = None) -> None:
        """Every host of the region, or of the zone, goes off at once. Harmless when it is off."""
        with self._lock:
            self._off |= {(region, zone)}
            self._each(self._lose, self._in(region, zone))

    def on(self, region: str, zone: str | None = None) -> None:
        """The way back from the same `off`; nothing when there was none.

        Returns once every machine's init runs. Raises LabError when some did not boot.
        """
        with self._lock:
            if (region, zone) not in self._off:
                return
            self._off -= {(region, zone)}
            lit = [r for r in self._in(region, zone) if not self.dark(zone_of(r))]
            self._each(self._boot, lit)

    def sentences(self) -> list[str]:
        """Where there is none, for people."""
        places = sorted(zone or region for region, zone in self._off)
        return [f"no host in {place} has power" for place in places]

    def check_launch(self, instance_type: str, zone: str) -> None:
        """Raises EC2's error for a launch or a start where there is no power."""
        if self.dark(zone):
            code = "InsufficientInstanceCapacity"
            raise EC2ClientError(code, SENTENCES[code].format(kind=instance_type, zone=zone))

    def check_volume(self, zone: str) -> None:
        """Raises EC2's error for a new volume where there is no power."""
        if self.dark(zone):
            raise EC2ClientError(
                "InsufficientVolumeCapacity",
                "There is not enough capacity to fulfill your EBS volume provision request.",
            )

    def check_attachment(self, zone: str) -> None:
        """Raises EC2's error for an attachment where there is no power."""
        if self.dark(zone):
            raise EC2ClientError("Unavailable", "The server is overloaded and can't handle it.")

    def _in(self, region: str, zone: str | None) -> list[Record]:
        here = [record for record in self._records.all() if record.region == region]
        return [record for record in here if zone in (None, zone_of(record))]

    def _each(self, do: Callable[[MachineHost, Record], None], records: list[Record]) -> None:
        """At once for all of them. Raises LabError with the sentences of those that failed."""
        host = self._host
        if host is None or not records:
            return
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            asked = [pool.submit(do, host, record) for record in records]
        failed = [error for error in (one.exception() for one in asked) if error is not None]
        for error in failed:
            if not isinstance(error, LabError):
                raise error
        if failed:
            raise LabError("; ".join(str(error) for error in failed))

    @staticmethod
    def _lose(host: MachineHost, record: Record) -> None:
        """Not one at a time with what EC2 does to it: power does not wait."""
        if record.instance.id in host.machines():
            with suppress(LabError):  # ended by EC2 meanwhile
                host.power_loss(record.instance.id)

    @staticmethod
    def _boot(host: MachineHost, record: Record) -> None:
        with record.machine:
            if record.instance.state == "running":
                log.info("power is back for %s", record.instance.id)
                host.power_on(record.instance.id)


def zone_of(record: Record) -> str:
    """eu-west-1a."""
    return str(record.instance.availability_zone)
