"""The machine host for the tests of this folder that want one of their own, once a file.

It refuses to start beside another lab, whose machines it would sweep away.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab.host import preflight
from lab.host.host import Host
from lab.host.paths import Paths
from lab.host.sweep import leftovers, sweep
from tests.lab.machines import ALPHA, BRAVO, Lab, Source


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    base = tmp_path_factory.mktemp("lab")
    paths = Paths(cache=Paths.from_env().cache, state=base / "state", run=base / "run")
    left = leftovers(paths)
    if left:
        pytest.skip(f"another lab is up or left traces here ({left[0]}): run 'make lab-down' first")
    for folder in (paths.state, paths.run):
        folder.mkdir(parents=True)
    preflight.check(paths)
    source = Source()
    host = Host(paths, progress=print)
    host.serve(source, source.went_off.append)
    made = Lab(host=host, source=source, paths=paths)
    try:
        host.up()
        for spec in (ALPHA, BRAVO):
            made.has(spec)
        for spec in (ALPHA, BRAVO):
            made.ready(spec)
        yield made
    finally:
        host.down()
        sweep(paths)
        assert leftovers(paths) == []


@pytest.fixture
def disk(lab: Lab) -> Iterator[str]:
    volume_id = f"vol-{time.monotonic_ns():017x}"[:21]
    lab.host.create_disk(volume_id, size_gib=1)
    yield volume_id
    for spec in (ALPHA, BRAVO):
        lab.host.run(spec.instance_id, ["umount", "-q", "/mnt"])
        lab.host.detach_disk(spec.instance_id, volume_id)
    lab.host.delete_disk(volume_id)
