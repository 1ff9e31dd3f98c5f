"""The nodes' root file system: Debian 13 with the packages the EC2 bootstrap installs, built once and cached."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from lab.errors import LabError
from lab.host.paths import Paths

SUITE = "trixie"
PACKAGES = (
    "systemd systemd-sysv dbus iproute2 iputils-ping procps ca-certificates curl xfsprogs util-linux "
    "postgresql patroni etcd-server etcd-client haproxy python3-etcd python3-boto3 python3-requests "
    "python3-psycopg python3-psycopg-pool python3-flask gunicorn "
    "libfaketime"  # for a fault; nothing that ships needs it
).split()
DEFAULT_MIRROR = "http://deb.debian.org/debian"
HOOK = (
    'mkdir -p "$1/etc/postgresql-common"; '
    'echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"'
)
# What a server image leaves running that a lab node has no use for.
MASKED = (
    "getty.target console-getty.service apt-daily.timer apt-daily-upgrade.timer fstrim.timer "
    "e2scrub_all.timer e2scrub_reap.service dpkg-db-backup.timer logrotate.timer systemd-networkd.service "
    "systemd-timesyncd.service systemd-resolved.service systemd-logind.service"
).split()
# The packaged services stay off until a document configures the node, as user data leaves them on EC2.
DISABLED = (
    "postgresql.service patroni.service etcd.service haproxy.service gunicorn.service".split()
)


def ensure(paths: Paths, progress: Callable[[str], None]) -> Path:
    """The root file system's folder; builds it when the cache has none for this recipe."""
    recipe = "\n".join([SUITE, *PACKAGES, HOOK, *MASKED, *DISABLED])
    target = paths.cache / f"rootfs-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if target.exists():
        return target
    paths.cache.mkdir(parents=True, exist_ok=True)
    scratch = target.with_suffix(".new")
    if scratch.exists():
        shutil.rmtree(scratch)
    progress(f"building the nodes' Debian 13 ({len(PACKAGES)} packages, about two minutes, once)")
    command = [
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        *(f"--setup-hook={HOOK}", SUITE, str(scratch), mirror(Path("/etc/apt"))),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise LabError(f"the nodes' root file system could not be built:\n{found.stderr[-2000:]}")
    _settle(scratch)
    scratch.rename(target)
    return target


def _settle(root: Path) -> None:
    units = root / "etc/systemd/system"
    for unit in MASKED:
        link = units / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    for wants in units.glob("*.wants"):
        for unit in DISABLED:
            (wants / unit).unlink(missing_ok=True)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text(
        "# No name server: names resolve at once or not at all.\n"
    )


def mirror(apt: Path) -> str:
    """The Debian mirror this computer uses, from its apt sources."""
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    for file in files:
        if not file.is_file():
            continue
        for line in file.read_text(errors="replace").splitlines():
            found = re.match(
                r"(?:URIs:|deb(?:\s+\[[^]]*\])?)\s+(https?://\S+/debian)/?(?:\s|$)", line.strip()
            )
            if found:
                return found[1]
    return DEFAULT_MIRROR
