"""What the tests' function does; zipped and run by AWS's runtime client, never imported here."""

import itertools
import os
import subprocess
import time
from pathlib import Path
from typing import Any

calls = itertools.count(1)


def handler(event: dict[str, Any], context: Any) -> Any:
    number = next(calls)
    if "note" in event:
        with Path(event["note"]).open("a") as file:
            file.write(f"{context.aws_request_id} {os.getpid()}\n")
    if "say" in event:
        print(event["say"], flush=True)
    if "child" in event:
        child = subprocess.Popen(["sleep", "300"])
        Path(event["child"]).write_text(str(child.pid))
    if "sleep" in event:
        time.sleep(event["sleep"])
    while "until" in event and not Path(event["until"]).exists():
        time.sleep(0.02)
    if "raise" in event:
        raise ValueError(event["raise"])
    if "exit" in event:
        os._exit(event["exit"])
    if "mib" in event:
        block = bytearray(event["mib"] * 1024 * 1024)
        block[::4096] = b"x" * len(block[::4096])
    return {
        "pid": os.getpid(),
        "calls": number,
        "event": event,
        "environment": dict(os.environ),
        "name": context.function_name,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "left_ms": context.get_remaining_time_in_millis(),
    }
