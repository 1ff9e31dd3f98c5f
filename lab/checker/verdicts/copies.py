"""Whether all copies hold the same at the end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from lab.checker.final import CopyDigest
from lab.checker.verdicts.finding import Anomaly, Finding


def findings(digests: Iterable[CopyDigest]) -> Iterator[Finding]:
    """One for every table that is not the same on all copies at one LSN."""
    for (table, lsn), group in sorted(_by_table(digests).items()):
        contents: dict[tuple[int, str], list[str]] = {}
        for digest in group:
            contents.setdefault((digest.rows, digest.digest), []).append(digest.copy)
        if len(contents) > 1:
            words = "; ".join(
                f"{', '.join(sorted(copies))}: {rows} rows, digest {digest}"
                for (rows, digest), copies in sorted(contents.items(), key=lambda it: it[1])
            )
            yield Finding(
                anomaly=Anomaly.COPIES_DIFFER,
                sentence=f"table {table} differs between copies at {lsn}: {words}",
            )


def doubts(digests: Collection[CopyDigest]) -> Iterator[str]:
    """Tables that could not be compared."""
    for (table, lsn), group in sorted(_by_table(digests).items()):
        if len({digest.copy for digest in group}) < 2:
            yield f"table {table} was read on {group[0].copy} alone at {lsn}: nothing to compare"


def _by_table(digests: Iterable[CopyDigest]) -> dict[tuple[str, str], list[CopyDigest]]:
    found: dict[tuple[str, str], list[CopyDigest]] = {}
    for digest in digests:
        found.setdefault((digest.table, digest.lsn), []).append(digest)
    return found
