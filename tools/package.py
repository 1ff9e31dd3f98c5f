"""Builds what is deployed: dist/lambdas.zip (functions) and dist/node-bundle.tar.gz (agent and app).

Byte for byte the same from the same sources: names sorted, timestamps and owners fixed, wheels pinned by hash. The
SHA-256 of an archive is its release id.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
LOCK = ROOT / "requirements" / "lambda.lock"
EPOCH = (2020, 1, 1, 0, 0, 0)
EPOCH_S = 1577836800
SKIPPED = ("__pycache__", ".dist-info", ".pyc")
ZIP_BYTES_MAX = 15 * 1024 * 1024


def sources(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """(name in the archive, file) of everything below a folder that belongs into an archive."""
    for path in sorted(folder.rglob("*")):
        name = f"{prefix}/{path.relative_to(folder).as_posix()}".lstrip("/")
        if path.is_file() and not any(part in name for part in SKIPPED):
            yield name, path


def vendored(into: Path) -> Path:
    """The locked wheels, unpacked; made again only when the lock changes."""
    target = into / f"vendor-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=into) as scratch:
        unpacked = Path(scratch) / "vendor"
        command = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-compile", "--no-deps", "--require-hashes", "--requirement", str(LOCK)),
            *("--only-binary=:all:", "--platform", "any", "--python-version", "3.13"),
            *("--implementation", "py", "--target", str(unpacked)),
        ]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode:
            raise SystemExit(f"the functions' dependencies could not be installed:\n{found.stderr}")
        unpacked.rename(target)
    return target


def write_zip(path: Path, members: list[tuple[str, Path]]) -> None:
    """A zip that depends on its members' names and contents only."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, source in sorted(members):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, source.read_bytes())
    replace(path, buffer.getvalue())


def write_tar(path: Path, members: list[tuple[str, Path]]) -> None:
    """A gzipped tar that depends on its members' names and contents only."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=EPOCH_S, compresslevel=9) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, source in sorted(members):
            content = source.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), EPOCH_S
            entry.mode = 0o755 if name.startswith("bin/") else 0o644
            archive.addfile(entry, io.BytesIO(content))
    replace(path, buffer.getvalue())


def replace(path: Path, content: bytes) -> None:
    """Put the file there whole, or not at all; an equal one is left alone."""
    if path.exists() and path.read_bytes() == content:
        return
    scratch = path.with_suffix(".new")
    scratch.write_bytes(content)
    scratch.rename(path)


def main() -> None:
    """Build both archives and say what they are."""
    DIST.mkdir(exist_ok=True)
    functions = [*sources(ROOT / "lambdas", "lambdas"), *sources(vendored(DIST), "")]
    write_zip(DIST / "lambdas.zip", functions)
    agent, app = ROOT / "node_agent", ROOT / "app"
    bundle = [
        *(
            (n, p)
            for n, p in sources(agent, "node_agent")
            if p.parent.name not in ("bin", "systemd")
        ),
        *((n, p) for n, p in sources(app, "app") if p.parent.name != "systemd"),
        *sources(agent / "bin", "bin"),
        *sources(agent / "systemd", "systemd"),
        *sources(app / "systemd", "systemd"),
    ]
    write_tar(DIST / "node-bundle.tar.gz", bundle)
    for name in ("lambdas.zip", "node-bundle.tar.gz"):
        content = (DIST / name).read_bytes()
        print(f"{name}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
    if (DIST / "lambdas.zip").stat().st_size > ZIP_BYTES_MAX:
        raise SystemExit(f"lambdas.zip is larger than {ZIP_BYTES_MAX} bytes: drop a dependency")


if __name__ == "__main__":
    main()
