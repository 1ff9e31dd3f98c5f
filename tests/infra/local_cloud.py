"""The local AWS in a process of its own, for plans and applies: what it replaces in moto must not reach other tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from lab.deploy import Deployment, find_command, find_mirror
from lab.ports import OPERATOR_KEY, REGIONS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCloud:
    """A running local AWS."""

    port: int
    state: Path

    @property
    def endpoint(self) -> str:
        """For everybody: operator, functions and nodes."""
        return f"http://127.0.0.1:{self.port}"

    def deployment(self) -> Deployment:
        """`tofu/` on it. Raises LabError when there is no command."""
        return Deployment(
            command=find_command(),
            mirror=find_mirror(os.environ),
            work=self.state / "tofu",
            endpoint=self.endpoint,
            node_endpoints={region.name: self.endpoint for region in REGIONS},
        )

    def client(self, service: str, region: str) -> Any:
        """A boto3 client with the operator's key."""
        return self._client(service, region, OPERATOR_KEY, OPERATOR_KEY)

    def client_of(self, role: str, session: str, region: str) -> Any:
        """A client of EC2 with a role's credentials."""
        arn = f"arn:aws:iam::123456789012:role/{role}"
        given = self.client("sts", region).assume_role(RoleArn=arn, RoleSessionName=session)
        keys = given["Credentials"]
        return self._client(
            "ec2", region, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]
        )

    def _client(
        self, service: str, region: str, key: str, secret: str, token: str | None = None
    ) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=CONFIG,
        )

    def evidence(self, kind: str) -> list[Mapping[str, Any]]:
        """What it wrote down of one kind, complete lines only."""
        file = self.state / "evidence" / f"{kind}.jsonl"
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        return [json.loads(line) for line in lines]


@contextmanager
def local_cloud(state: Path) -> Iterator[LocalCloud]:
    """Start one on a free port; it is gone afterwards."""
    state.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "lab.aws", "--port", str(port), "--state", str(state)]
    log = state / "aws.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            said = process.stdout.readline() if process.stdout is not None else b""
            assert said.startswith(b"listening"), log.read_text()
            yield LocalCloud(port=port, state=state)
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            finally:
                process.kill()
