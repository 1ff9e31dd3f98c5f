"""Every scenario, in the order in which they run: by subject, then pairs, then what needs a larger lab."""

from __future__ import annotations

from typing import Final

from lab.proof.rows import (
    cloud,
    copies,
    databases,
    disks,
    etcd,
    front,
    healer,
    hosts,
    pairs,
    people,
)
from lab.proof.scenario import Row

SUBJECTS: Final = (
    databases,
    copies,
    disks,
    etcd,
    hosts,
    front,
    cloud,
    healer,
    people,
    pairs,
)
ROWS: Final[tuple[Row, ...]] = tuple(row for subject in SUBJECTS for row in subject.ROWS)
