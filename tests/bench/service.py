"""Sluice as its users run it: a process of its own with a settings file, measured by the commits that it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from checkpoints import ledger
from checkpoints.lake import Lake
from deploy import jars
from deploy.embedded.ports import free_ports
from tests.bench import delta_log
from tests.bench.failure import ProgramFailed
from tests.bench.machine import Tree, Usage
from tests.bench.peers import started

_ROOT = Path(__file__).parents[2]
_READY_SECONDS = 180.0
_STOP_SECONDS = 120.0


@dataclass(frozen=True)
class Drain:
    """What `sluice run --once` did.

    `start_seconds` run from the start of the process to that of the first batch, `first_commit_seconds` to the first
    commit of bronze that holds rows, and `seconds` from the start of the first batch to the last commit of any table.
    `warm_rate` is in events/s, of the batches after the first: from bronze's first commit to the last one of any
    table, so that the way of the first batch through the layers below counts as well. None where one batch was all.
    """

    events: int
    seconds: float
    start_seconds: float
    first_commit_seconds: float
    warm_rate: float | None
    batches: int
    usage: Usage


@dataclass(frozen=True)
class SluiceService:
    """`sluice run` over a pipeline; lake, settings and log go into `folder`, which is made."""

    folder: Path
    pipeline: Path
    bootstrap: str
    overrides: Sequence[str] = ()

    @property
    def lake(self) -> Lake:
        """Its lake."""
        return Lake.at(str(self.folder / "lake"))

    def settings(self) -> dict[str, Any]:
        """What the settings file says: where things are; everything else is as the service has it by default."""
        return {
            "lake": self.lake.root,
            "pipeline": str(self.pipeline),
            "kafka": {"bootstrap_servers": self.bootstrap},
            "jars_dir": str(jars.resolve("service").resolve()),
            "metrics_port": free_ports(1)[0],
            "spark": {"conf": {"spark.local.dir": str(self.folder / "spark")}},
        }

    def drain(self, tables: Sequence[str]) -> Drain:
        """`sluice run --once`; `tables` are those it fills, from bronze down. Raises ProgramFailed."""
        began = time.time()
        with self._process("--once") as (process, log), Tree(root=process.pid).watched() as usage:
            code = process.wait()
        if code:
            raise ProgramFailed("`sluice run --once`", log.read_text())
        return self._drained(tables, began, usage)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The service, ready; it is asked to end afterwards. Raises ProgramFailed."""
        with self._process() as (process, log):
            port = json.loads(self._file.read_text())["metrics_port"]
            deadline = time.monotonic() + _READY_SECONDS
            while not _is_ready(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ProgramFailed("`sluice run`", log.read_text())
                time.sleep(0.2)
            yield process
            process.terminate()
            if process.wait(_STOP_SECONDS):
                raise ProgramFailed("`sluice run`", log.read_text())

    @property
    def _file(self) -> Path:
        return self.folder / "sluice.json"

    @contextmanager
    def _process(self, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self.settings()))
        given = [word for override in self.overrides for word in ("--set", override)]
        command = [sys.executable, "-m", "streams", "run", "--config", str(self._file), *given, *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        environment["PYTHONPATH"] = str(_ROOT)
        log = self.folder / "sluice.log"
        with log.open("ab") as out, started(command, environment, self.folder, out) as process:
            yield process, log

    def _drained(self, tables: Sequence[str], began: float, usage: Usage) -> Drain:
        bronze = self.lake.table(tables[0])
        entries = [entry for _, entry in ledger.entries(DeltaTable(bronze)) if entry.step == "append"]
        if not entries:
            raise ProgramFailed(
                "`sluice run --once`: it appended nothing and", (self.folder / "sluice.log").read_text()
            )
        first = min(entries, key=lambda entry: entry.clock)
        first_commit = min(commit.at for commit in delta_log.commits(bronze) if commit.adds)
        end = max(commit.at for table in tables for commit in delta_log.commits(self.lake.table(table)))
        events = sum(entry.read for entry in entries)
        return Drain(
            events=events,
            seconds=end - first.clock.timestamp(),
            start_seconds=first.clock.timestamp() - began,
            first_commit_seconds=first_commit - began,
            warm_rate=(events - first.read) / (end - first_commit) if events > first.read else None,
            batches=len(entries),
            usage=usage,
        )


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False
