"""The service as its users run it: a process of its own, told by environment, watched by what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checkpoints.failpoints import VARIABLE
from schemas.loader import load
from schemas.settings_sources import load_settings
from streams.graph import Graph
from streams.sources import Brokers
from streams.status import status_of

WAIT_SECONDS = 400.0


@dataclass
class ServiceProcess:
    """`sluice` with these settings; its log lines go to `log`."""

    settings: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def environment(self) -> dict[str, str]:
        named = {f"SLUICE_{name.upper().replace('.', '__')}": value for name, value in self.settings.items()}
        return {**os.environ, **named, "SLUICE_LOG_FORMAT": "json"}

    def start(self, *arguments: str) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams", "run", *arguments],
                env=self.environment(),
                stderr=log,
                stdout=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL to the whole group: Python, its JVM and the workers."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_SECONDS)

    def run_to_end(self, *arguments: str) -> int:
        self.start(*arguments)
        assert self.process is not None
        return self.process.wait(WAIT_SECONDS)

    def command(self, *arguments: str, failpoints: str = "") -> subprocess.CompletedProcess[str]:
        """Run another command of `sluice` to its end; where a failpoint kills it, it alone dies."""
        return subprocess.run(
            [sys.executable, "-m", "streams", *arguments],
            env={**self.environment(), VARIABLE: failpoints},
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )

    def status(self) -> dict[str, dict[str, Any]]:
        """What `sluice status --json` prints, worked out here: asked often, a process each time would cost more."""
        settings = load_settings(None, self.settings, {})
        brokers = Brokers(settings.kafka)
        try:
            found = status_of(
                Graph.build(load(settings.pipeline), settings, decodes=False), None if brokers.silence() else brokers
            )
            return {one.table: one.to_json() for one in found}
        finally:
            brokers.close()

    def wait_for(self, condition: Callable[[dict[str, dict[str, Any]]], bool], what: str) -> dict[str, dict[str, Any]]:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            status = self.status()
            if condition(status):
                return status
            running = self.process is not None and self.process.poll() is None
            if not running or time.monotonic() > deadline:
                tail = "\n".join(self.log.read_text().splitlines()[-30:])
                raise AssertionError(f"never came true: {what}; running: {running}\n{status}\n{tail}")
            time.sleep(0.5)

    def events(self) -> list[dict[str, Any]]:
        """The log so far, every line of which is JSON."""
        lines = self.log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]


def is_drained(status: dict[str, dict[str, Any]]) -> bool:
    """Everything on the topics is in every table."""
    return all(one["lag"] == 0 for one in status.values())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(service: ServiceProcess, path: str) -> tuple[int, str]:
    """What the service's health server answers; 0 where it does not."""
    url = f"http://127.0.0.1:{service.settings['metrics_port']}{path}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""
