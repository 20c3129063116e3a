"""AWS as moto's server plays it: in a thread, told to clients by the environment, as AWS's own variables do.

Its weather can be bad: answers that are late, refusals to be tried again, and answers that are lost after what was asked
for has been done.
"""

from __future__ import annotations

import random
import threading
import time
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
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass
class Weather:
    """How likely a request is met by each; `met` counts them."""

    slow: float = 0.0
    refused: float = 0.0
    lost: float = 0.0
    seconds: float = 0.3
    met: Counter[str] = field(default_factory=Counter)
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def clear(self) -> None:
        self.slow = self.refused = self.lost = 0.0


class _Sky:
    """The weather in front of an application."""

    def __init__(self, app: Any, weather: Weather) -> None:
        self._app, self._weather = app, weather

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        weather, dice = self._weather, self._weather.chance.random()
        if dice < weather.refused:
            weather.met["refused"] += 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(_SLOW_DOWN)))]
            start_response("503 Slow Down", headers)
            return [_SLOW_DOWN]
        if dice < weather.refused + weather.slow:
            weather.met["slow"] += 1
            time.sleep(weather.seconds)
        if dice > 1 - weather.lost:
            weather.met["lost"] += 1
            list(self._app(environ, lambda *_: None))
            raise ConnectionError("the answer is lost")
        return self._app(environ, start_response)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Moto:
    url: str
    bucket: str
    weather: Weather

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def moto(bucket: str = "lake") -> Iterator[Moto]:
    weather = Weather()
    app = _Sky(DomainDispatcherApplication(create_backend_app), weather)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made = Moto(f"http://127.0.0.1:{server.server_port}", bucket, weather)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
