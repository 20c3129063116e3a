"""A schema registry for the demo and the tests, in a thread of this program.

It is a stand-in. None of the registries that people run can be had without a container or a vendor's package, so this
one speaks the part of Confluent's REST API that the Confluent clients and their Avro serializers use, over real HTTP,
optionally with basic authentication and TLS. It keeps its schemas in memory, numbers them from 1 over all subjects,
gives the same id to the same schema, and answers errors with Confluent's codes. It knows nothing of compatibility
levels, of deletion, of replicas, and accepts any JSON as a schema. Do not run it for anything that has to last.
https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

from deploy.embedded.errors import NotRunningError
from deploy.embedded.ports import LOOPBACK, free_ports

JSON_TYPE: Final = "application/vnd.schemaregistry.v1+json"
SUBJECT_UNKNOWN, VERSION_UNKNOWN, SCHEMA_UNKNOWN = 40401, 40402, 40403

Answer = tuple[int, Any]


@dataclass
class _Schemas:
    """What is registered: schemas by id, and the ids of each subject's versions, of which the first is 1."""

    by_id: list[dict[str, Any]] = field(default_factory=list)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def register(self, subject: str, body: dict[str, Any]) -> Answer:
        schema = _schema_in(body)
        try:
            json.loads(schema["schema"])
        except (KeyError, TypeError, ValueError):
            return 422, {"error_code": 42201, "message": "Invalid schema"}
        with self.lock:
            if schema not in self.by_id:
                self.by_id.append(schema)
            number = self.by_id.index(schema) + 1
            versions = self.subjects.setdefault(subject, [])
            if number not in versions:
                versions.append(number)
        return 200, {"id": number}

    def look_up(self, subject: str, body: dict[str, Any]) -> Answer:
        versions = self.subjects.get(subject)
        if versions is None:
            return _unknown(SUBJECT_UNKNOWN, f"Subject '{subject}' not found.")
        schema = _schema_in(body)
        for version, number in enumerate(versions, 1):
            if self.by_id[number - 1] == schema:
                return 200, self._version(subject, version, number)
        return _unknown(SCHEMA_UNKNOWN, "Schema not found")

    def by_number(self, number: str) -> Answer:
        if not 1 <= int(number) <= len(self.by_id):
            return _unknown(SCHEMA_UNKNOWN, f"Schema {number} not found")
        return 200, self.by_id[int(number) - 1]

    def subjects_of(self, number: str) -> Answer:
        return 200, [each["subject"] for each in self._places(int(number))]

    def versions_of_id(self, number: str) -> Answer:
        return 200, self._places(int(number))

    def all_subjects(self) -> Answer:
        return 200, sorted(self.subjects)

    def versions(self, subject: str) -> Answer:
        if subject not in self.subjects:
            return _unknown(SUBJECT_UNKNOWN, f"Subject '{subject}' not found.")
        return 200, list(range(1, len(self.subjects[subject]) + 1))

    def version(self, subject: str, version: str) -> Answer:
        versions = self.subjects.get(subject)
        if versions is None:
            return _unknown(SUBJECT_UNKNOWN, f"Subject '{subject}' not found.")
        wanted = len(versions) if version in ("latest", "-1") else int(version)
        if not 1 <= wanted <= len(versions):
            return _unknown(VERSION_UNKNOWN, f"Version {version} not found.")
        return 200, self._version(subject, wanted, versions[wanted - 1])

    def _version(self, subject: str, version: int, number: int) -> dict[str, Any]:
        return {"subject": subject, "version": version, "id": number, **self.by_id[number - 1]}

    def _places(self, number: int) -> list[dict[str, Any]]:
        return [
            {"subject": subject, "version": version}
            for subject, versions in self.subjects.items()
            for version, each in enumerate(versions, 1)
            if each == number
        ]


class EmbeddedRegistry:
    """A schema registry on a free port of 127.0.0.1, from `start` on.

    It keeps its port and its schemas over `stop` and `start`. Use it as a context manager. With `username` and
    `password` it asks for them; `tls` makes it speak HTTPS. `requests` are those that it has answered, as
    `GET /schemas/ids/1`.
    """

    def __init__(self, *, username: str | None = None, password: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[str] = []
        self._schemas = _Schemas()
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._authorization = None if username is None else f"Basic {token}"
        self._tls = tls
        self._port: int | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it is reached, and will be again after a stop."""
        if self._port is None:
            raise NotRunningError("the schema registry", "It has no address before its first start.")
        return f"{'https' if self._tls else 'http'}://{LOOPBACK}:{self._port}"

    def start(self) -> None:
        """Start it; nothing happens if it runs."""
        if self._server is not None:
            return
        if self._port is None:
            (self._port,) = free_ports(1)
        handler = type("Handler", (_Handler,), {"answer": self._answer, "authorization": self._authorization})
        self._server = _Server((LOOPBACK, self._port), handler)
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="registry", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop it: connections are refused until it is started again."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server.close_connections()
        self._thread.join()
        self._server = None

    def register(self, subject: str, schema: str, references: list[dict[str, Any]] | None = None, **more: Any) -> int:
        """Register a schema without HTTP, and give its id; `references` have `name`, `subject` and `version`."""
        body = {"schema": schema, **({"references": references} if references else {}), **more}
        status, answer = self._schemas.register(subject, body)
        if status != 200:
            raise ValueError(f"subject {subject}: the schema is not JSON")
        return int(answer["id"])

    def _answer(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        self.requests.append(f"{method} {path}")
        for wanted, pattern, action in _routes(self._schemas):
            if wanted == method and (found := pattern.fullmatch(path)):
                parts = [unquote(part) for part in found.groups()]
                return action(*parts, body) if method == "POST" else action(*parts)
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()


def _routes(schemas: _Schemas) -> list[tuple[str, re.Pattern[str], Callable[..., Answer]]]:
    one = "([^/]+)"
    return [
        ("POST", re.compile(f"/subjects/{one}/versions"), schemas.register),
        ("POST", re.compile(f"/subjects/{one}"), schemas.look_up),
        ("GET", re.compile("/subjects"), schemas.all_subjects),
        ("GET", re.compile(f"/subjects/{one}/versions"), schemas.versions),
        ("GET", re.compile(f"/subjects/{one}/versions/(latest|-1|[0-9]+)"), schemas.version),
        ("GET", re.compile("/schemas/ids/([0-9]+)"), schemas.by_number),
        ("GET", re.compile("/schemas/ids/([0-9]+)/versions"), schemas.versions_of_id),
        ("GET", re.compile("/schemas/ids/([0-9]+)/subjects"), schemas.subjects_of),
    ]


class _Server(ThreadingHTTPServer):
    """Closes the connections that clients keep open when it stops, as a process that ends would."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.connections: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self.connections):
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or refuses our certificate, is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: Callable[[str, str, dict[str, Any]], Answer]
    authorization: str | None

    def do_GET(self) -> None:
        self._respond({})

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            body = json.loads(text)
        except ValueError:
            body = None
        self._respond(body)

    def _respond(self, body: Any) -> None:
        if self.authorization is not None and self.headers.get("Authorization") != self.authorization:
            self._send(401, {"error_code": 401, "message": "Unauthorized"})
        elif not isinstance(body, dict):
            self._send(400, {"error_code": 400, "message": "The body is no JSON object"})
        else:
            self._send(*type(self).answer(self.command, urlsplit(self.path).path, body))

    def _send(self, status: int, answer: Any) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="registry"')
        self.send_header("Content-Type", JSON_TYPE)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Requests are kept, not printed."""


def _schema_in(body: dict[str, Any]) -> dict[str, Any]:
    """What makes a schema the same as another: its text, type and references, as they are answered."""
    kept = {key: body[key] for key in ("schema", "schemaType", "references", "metadata") if body.get(key)}
    if kept.get("schemaType") == "AVRO":
        del kept["schemaType"]  # as Confluent's own: it is the default, and left out
    return kept


def _unknown(code: int, message: str) -> Answer:
    return 404, {"error_code": code, "message": message}
