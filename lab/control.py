"""How the command line talks to the running lab: one typed client, one small server, one unix
socket.

The daemon owns the machines; everything here only asks it. What AWS can answer is never asked
here: the command line uses the local AWS for that, as a user would. Every request is one JSON
object posted to `/<operation>`; every answer is `{"ok": true, "result": ...}` or `{"ok": false,
"error": "<one sentence>"}`. The socket belongs to root.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import socketserver
import threading
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.control_words import (
    LabControl,
    LabStatus,
    MachineFault,
    MachineState,
    Operation,
    RegionApi,
    RegionLink,
    RegionService,
    RunResult,
)
from lab.errors import LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "ControlClient",
    "ControlServer",
    "LabControl",
    "LabStatus",
    "MachineFault",
    "MachineState",
    "Operation",
    "RegionApi",
    "RegionLink",
    "RegionService",
    "RunResult",
]
SOCKET = Path(os.environ.get("PGMEND_LAB_SOCKET", "/run/pgmend-lab/control.sock"))
REQUEST_TIMEOUT_S = 120.0


class ControlClient:
    """`LabControl` seen from another process. Raises `LabError` when no lab answers."""

    def __init__(self, path: Path = SOCKET, *, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def alive(self) -> bool:
        """True when a lab answers on the socket."""
        try:
            self.status()
        except LabError:
            return False
        return True

    def status(self) -> LabStatus:
        """The lab as it was started."""
        return LabStatus(**self._ask(Operation.STATUS, {}))

    def machines(self) -> tuple[MachineState, ...]:
        """All machines that exist now."""
        return tuple(MachineState(**item) for item in self._ask(Operation.MACHINES, {}))

    def machine_fault(self, fault: MachineFault, instance_id: str) -> None:
        """Do this to the machine."""
        self._ask(Operation.MACHINE_FAULT, {"fault": fault.value, "instance_id": instance_id})

    def region_link(self, link: RegionLink, first: str, second: str) -> None:
        """Cut or mend two regions."""
        self._ask(Operation.REGION_LINK, {"link": link.value, "first": first, "second": second})

    def way_to_aws(self, region: str, *, reachable: bool) -> None:
        """Whether the nodes of a region reach AWS's API."""
        self._ask(Operation.WAY_TO_AWS, {"region": region, "reachable": reachable})

    def region_api(self, region: str, api: RegionApi) -> None:
        """What AWS's endpoints of a region do."""
        self._ask(Operation.REGION_API, {"region": region, "api": api.value})

    def region_service(self, region: str, service: RegionService, *, running: bool) -> None:
        """Stop one service of a region, or let it run again."""
        body = {"region": region, "service": service.value, "running": running}
        self._ask(Operation.REGION_SERVICE, body)

    def power(self, region: str, *, zone: str | None, on: bool) -> None:
        """The power of all hosts of a region, or of one of its zones."""
        self._ask(Operation.POWER, {"region": region, "zone": zone, "on": on})

    def flap(self, region: str, *, seed: int, for_s: float) -> None:
        """Cut the region from the others and mend it, again and again, for so long."""
        self._ask(Operation.FLAP, {"region": region, "seed": seed, "for_s": for_s})

    def calm(self, region: str) -> None:
        """The region flaps no more."""
        self._ask(Operation.CALM, {"region": region})

    def outages(self) -> tuple[str, ...]:
        """What is out now as a whole."""
        return tuple(self._ask(Operation.OUTAGES, {}))

    def credentials(self, instance_id: str, *, valid: bool) -> None:
        """Whether AWS takes the instance's credentials for valid."""
        self._ask(Operation.CREDENTIALS, {"instance_id": instance_id, "valid": valid})

    def status_checks(self, instance_id: str, verdict: str | None) -> None:
        """What EC2's checks say of an instance: `ok`, `impaired`, or None for what they find."""
        self._ask(Operation.STATUS_CHECKS, {"instance_id": instance_id, "verdict": verdict})

    def schedule_event(self, instance_id: str, code: str, not_before: float) -> str:
        """EC2 announces maintenance for `not_before` (epoch seconds). The event's id."""
        body = {"instance_id": instance_id, "code": code, "not_before": not_before}
        return str(self._ask(Operation.SCHEDULE_EVENT, body))

    def cancel_events(self, instance_id: str) -> None:
        """EC2 takes back what it has announced."""
        self._ask(Operation.CANCEL_EVENTS, {"instance_id": instance_id})

    def refuse_launches(
        self, code: str, *, instance_type: str | None = None, zone: str | None = None
    ) -> None:
        """Refuse launches with this error code: of one type, in one zone, or all."""
        body = {"code": code, "instance_type": instance_type, "zone": zone}
        self._ask(Operation.REFUSE_LAUNCHES, body)

    def allow_launches(self) -> None:
        """Refuse none any more."""
        self._ask(Operation.ALLOW_LAUNCHES, {})

    def run(self, instance_id: str, argv: Sequence[str], timeout_s: float = 60.0) -> RunResult:
        """Run a command in the machine."""
        body = {"instance_id": instance_id, "argv": list(argv), "timeout_s": timeout_s}
        return RunResult(**self._ask(Operation.RUN, body, timeout_s=timeout_s + 10.0))

    def enter(self, instance_id: str, argv: Sequence[str]) -> tuple[str, ...]:
        """The command line that runs this in the machine with our terminal."""
        body = {"instance_id": instance_id, "argv": list(argv)}
        return tuple(self._ask(Operation.ENTER, body))

    def journal(self, instance_id: str, into: str) -> None:
        """Save the machine's journal."""
        self._ask(Operation.JOURNAL, {"instance_id": instance_id, "into": into})

    def stop(self) -> None:
        """Ask the lab to stop."""
        self._ask(Operation.STOP, {})

    def _ask(
        self, operation: Operation, body: Mapping[str, Any], *, timeout_s: float | None = None
    ) -> Any:  # noqa: ANN401 - JSON
        connection = _UnixConnection(self._path, timeout_s or self._timeout_s)
        try:
            connection.request(
                "POST",
                f"/{operation.value}",
                body=json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
            answer = json.loads(connection.getresponse().read())
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise LabError("no lab is running here; start one with 'make lab-up'") from error
        except PermissionError as error:
            raise LabError("the lab belongs to root; run this as root") from error
        except TimeoutError as error:
            raise LabError(
                f"the lab did not answer '{operation.value}' in time;"
                " see its log, or stop it with 'make lab-down'"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LabError(
                f"the lab broke off while answering '{operation.value}' ({error}); see its log"
            ) from error
        finally:
            connection.close()
        if not answer.get("ok"):
            raise LabError(str(answer.get("error") or "the lab refused without a reason"))
        return answer.get("result")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._unix_path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._unix_path))


def answer(lab: LabControl, operation: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Call the operation on the daemon's side and return what goes into `result`.

    Raises LabError.
    """
    handlers: Mapping[Operation, Callable[[], Any]] = {
        Operation.STATUS: lambda: asdict(lab.status()),
        Operation.MACHINES: lambda: [asdict(machine) for machine in lab.machines()],
        Operation.MACHINE_FAULT: lambda: lab.machine_fault(
            MachineFault(body["fault"]), body["instance_id"]
        ),
        Operation.REGION_LINK: lambda: lab.region_link(
            RegionLink(body["link"]), body["first"], body["second"]
        ),
        Operation.WAY_TO_AWS: lambda: lab.way_to_aws(
            body["region"], reachable=bool(body["reachable"])
        ),
        Operation.REGION_API: lambda: lab.region_api(body["region"], RegionApi(body["api"])),
        Operation.REGION_SERVICE: lambda: lab.region_service(
            body["region"], RegionService(body["service"]), running=bool(body["running"])
        ),
        Operation.POWER: lambda: lab.power(body["region"], zone=body["zone"], on=bool(body["on"])),
        Operation.FLAP: lambda: lab.flap(
            body["region"], seed=int(body["seed"]), for_s=float(body["for_s"])
        ),
        Operation.CALM: lambda: lab.calm(body["region"]),
        Operation.OUTAGES: lambda: list(lab.outages()),
        Operation.CREDENTIALS: lambda: lab.credentials(
            body["instance_id"], valid=bool(body["valid"])
        ),
        Operation.STATUS_CHECKS: lambda: lab.status_checks(body["instance_id"], body["verdict"]),
        Operation.SCHEDULE_EVENT: lambda: lab.schedule_event(
            body["instance_id"], body["code"], float(body["not_before"])
        ),
        Operation.CANCEL_EVENTS: lambda: lab.cancel_events(body["instance_id"]),
        Operation.REFUSE_LAUNCHES: lambda: lab.refuse_launches(
            body["code"], instance_type=body["instance_type"], zone=body["zone"]
        ),
        Operation.ALLOW_LAUNCHES: lab.allow_launches,
        Operation.RUN: lambda: asdict(
            lab.run(body["instance_id"], tuple(body["argv"]), float(body["timeout_s"]))
        ),
        Operation.ENTER: lambda: list(lab.enter(body["instance_id"], tuple(body["argv"]))),
        Operation.JOURNAL: lambda: lab.journal(body["instance_id"], body["into"]),
        Operation.STOP: lab.stop,
    }
    try:
        chosen = handlers[Operation(operation)]
    except ValueError as error:
        known = ", ".join(Operation)
        raise UsageError(f"the lab knows no operation '{operation}'; it knows {known}") from error
    try:
        return chosen()
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(f"'{operation}' was asked with wrong values: {error!r}") from error


class ControlServer:
    """Serves a `LabControl` on a unix socket, one thread a request."""

    def __init__(self, lab: LabControl, path: Path = SOCKET) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._path = path
        self._server = _ThreadingUnixServer(str(path), _handler_for(lab))
        path.chmod(0o600)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="control", daemon=True
        )

    def start(self) -> None:
        """Answer from now on, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and remove the socket."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _ThreadingUnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away while we answered is its own business."""


def _handler_for(lab: LabControl) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, reply = _reply(lab, self.path.lstrip("/"), self.rfile.read(length))
            payload = json.dumps(reply).encode()
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(payload)
            self.close_connection = True

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Requests are not logged; what they change is."""

    return Handler


def _reply(lab: LabControl, operation: str, raw: bytes) -> tuple[int, Mapping[str, Any]]:
    try:
        body = json.loads(raw or b"{}")
        return 200, {"ok": True, "result": answer(lab, operation, body)}
    except UsageError as error:
        return 400, {"ok": False, "error": str(error)}
    except ValueError as error:
        return 400, {"ok": False, "error": f"the request was not JSON: {error}"}
    except LabError as error:
        return 409, {"ok": False, "error": str(error)}
    except Exception as error:  # noqa: BLE001 - the edge of the server: the client gets a sentence, the daemon lives on
        return 500, {"ok": False, "error": f"the lab failed inside '{operation}': {error!r}"}
