"""AWS as moto's server plays it, in a process of its own; clients are told of it by AWS's own variables.

Its weather can be bad: answers that are late, refusals to be tried again, and answers that are lost after what was
asked for has been done. Or it is deaf to conditions, as stores are that do not know them.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

REGION = "eu-central-1"
_WEATHER = "/_weather"
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_LATE_SECONDS = 0.3


@dataclass(frozen=True)
class Moto:
    url: str
    bucket: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def weather(
        self, *, late: float = 0.0, refused: float = 0.0, lost: float = 0.0, deaf: float = 0.0
    ) -> dict[str, int]:
        """From now on requests are met by each with this chance; how many were met by each so far."""
        chances = json.dumps({"late": late, "refused": refused, "lost": lost, "deaf": deaf}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + _WEATHER, chances, method="POST")) as answer:
            return dict(json.loads(answer.read()))


@contextmanager
def moto(bucket: str = "lake") -> Iterator[Moto]:
    server = subprocess.Popen([sys.executable, "-m", "tests.support.moto"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        made = Moto(server.stdout.readline().strip(), bucket)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in made.environment.items():
                patch.setenv(name, value)
            boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
            yield made
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@dataclass
class _Weather:
    """What stands between a client and the application."""

    app: Any
    chances: dict[str, float] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == _WEATHER:
            self.chances = json.loads(_body(environ))
            return _answer(start_response, "200 OK", json.dumps(self.met).encode())
        match self._meets():
            case "late":
                time.sleep(_LATE_SECONDS)
            case "deaf":
                environ.pop("HTTP_IF_NONE_MATCH", None)
            case "refused":
                _body(environ)
                return _answer(start_response, "503 Slow Down", _SLOW_DOWN)
            case "lost":
                list(self.app(environ, lambda *_: None))
                raise ConnectionError
        return self.app(environ, start_response)  # type: ignore[no-any-return]

    def _meets(self) -> str | None:
        dice = self.chance.random()
        for kind, likely in self.chances.items():
            dice -= likely
            if dice < 0:
                self.met[kind] += 1
                return kind
        return None


def _body(environ: dict[str, Any]) -> bytes:
    return bytes(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))


def _answer(start_response: Callable[..., Any], status: str, body: bytes) -> list[bytes]:
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


class _Quiet(MotoRequestHandler):
    def log_request(self, *_: object) -> None:
        pass

    def connection_dropped(self, *_: object) -> None:
        self.close_connection = True


def main() -> None:
    app = _Weather(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
