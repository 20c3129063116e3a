"""
The service's small HTTP server: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever runs the
container.

It reads and never decides: a thread of its own, a bounded number of clients, a time limit on each of them.
"""

import errno
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any, Final, Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from schemas.errors import SluiceError

_MOST_CLIENTS: Final = 16
_CLIENT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer to a probe, and per thing that was looked at, what was seen."""

    ok: bool
    detail: Mapping[str, str] = field(default_factory=dict)


class CannotListen(SluiceError):
    """The address for metrics and probes can not be listened on."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        """Name the address and why."""
        self.host, self.port = host, port
        super().__init__(
            f"Can not listen on {host}:{port} for /metrics, /livez and /readyz: {reason}. "
            "Set `metrics_host` to an address of this machine and `metrics_port` to a port it may use."
        )


class PortInUse(CannotListen):
    """Another process listens on the port for metrics and probes."""

    def __init__(self, host: str, port: int) -> None:
        """Name the address."""
        self.host, self.port = host, port
        SluiceError.__init__(
            self,
            f"Port {port} on {host}, the setting `metrics_port`, is in use by another process. "
            "Stop that process, or set `metrics_port` to a free port (0 takes any).",
        )


class HealthServer:
    """
    Serves `/metrics`, `/livez` and `/readyz` from `start()` to `stop()`, or as a context manager.

    `port` 0 takes a free port; `.port` says which. `alive` and `ready` are called per request, in the
    server's threads; one that raises counts as a no. Raises PortInUse or CannotListen when started.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        alive: Callable[[], Probe],
        ready: Callable[[], Probe],
        host: str,
        port: int,
    ) -> None:
        """Remember what to serve; nothing is opened before `start()`."""
        self._registry = registry
        self._probes = {"/livez": alive, "/readyz": ready}
        self._host, self._port = host, port
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1]) if self._server else self._port

    def start(self) -> Self:
        """Listen and answer from a thread of its own; harmless when it already does."""
        if self._server is None:
            self._server = _listen(self._host, self._port, self._answer)
            threading.Thread(
                target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="health", daemon=True
            ).start()
        return self

    def stop(self) -> None:
        """Close the port; clients in hand are not waited for."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return 200, content_type, encode(self._registry)
        if path in self._probes:
            probe = _ask(self._probes[path])
            body = json.dumps({"ok": probe.ok, "detail": dict(probe.detail)}, indent=1) + "\n"
            return 200 if probe.ok else 503, "application/json", body.encode()
        return 404, "text/plain; charset=utf-8", b"Not here: there are /metrics, /livez and /readyz.\n"


def _ask(probe: Callable[[], Probe]) -> Probe:
    try:
        return probe()
    except Exception as error:  # noqa: BLE001 - a probe that can not be answered is a no, not a lost connection
        return Probe(ok=False, detail={"probe": f"failed with {type(error).__name__}"})


def _listen(host: str, port: int, answer: Callable[[str, str], tuple[int, str, bytes]]) -> "_Server":
    try:
        return _Server(host, port, answer)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from error
        raise CannotListen(host, port, error.strerror or type(error).__name__) from error


class _Server(ThreadingMixIn, TCPServer):
    """http.server's own server looks its host up in DNS when it binds, which can hang."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, host: str, port: int, answer: Callable[[str, str], tuple[int, str, bytes]]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.answer = answer
        self._free = threading.BoundedSemaphore(_MOST_CLIENTS)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away or dawdles is its own affair."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _CLIENT_SECONDS
    server: _Server

    def do_GET(self) -> None:
        status, content_type, body = self.server.answer(self.path.partition("?")[0], self.headers.get("Accept", ""))
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self) -> None:
        self.send_response(405)
        self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - the names that http.server looks for
    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = refuse  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Probes come every few seconds and are not events."""

    def version_string(self) -> str:
        return "sluice"
