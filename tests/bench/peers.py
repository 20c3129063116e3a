"""The common workloads: their events, their truth, and the published way to do the same, all from beside the project.

They lie in a folder of their own, so that several systems are measured by the same programs. Each is run as a
process, told by its environment where it may write and which broker it reads.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deploy import jars
from schemas.errors import SluiceError
from tests.bench.failure import ProgramFailed
from tests.bench.machine import Tree, Usage

FOLDER = Path(__file__).parents[3] / "shared" / "bench" / "peers"

Topic = Literal["orders", "customers"]


class PeersMissing(SluiceError):
    """The folder of the common workloads is not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(
            f"The common workloads are not at {folder}: this benchmark takes its events and its truth from there. "
            "Name their folder with --peers, or run one that needs none: `contract`, `decode`, `merge`."
        )


@dataclass(frozen=True)
class Verdict:
    """What the comparison of a table with the truth found."""

    right: bool
    rows: int
    difference: str

    def __str__(self) -> str:
        return "yes" if self.right else f"NO: {self.difference}"


@dataclass(frozen=True)
class PatternRun:
    """One run of the published pattern: its own seconds, those until its session was there, and its verdict."""

    seconds: float
    start_seconds: float
    usage: Usage
    verdict: Verdict


@dataclass(frozen=True)
class Peers:
    """The programs in `folder`; they write below `work` and talk to the broker at `bootstrap`."""

    folder: Path
    work: Path
    bootstrap: str

    @classmethod
    def at(cls, folder: Path, work: Path, bootstrap: str) -> Peers:
        """The programs, ready to be run; raises PeersMissing."""
        work.mkdir(parents=True, exist_ok=True)
        for name in ("data", "out", "tmp", "jars"):
            (work / name).mkdir(exist_ok=True)
        (work / "jars" / "spark41").symlink_to(jars.resolve("service").resolve())
        return cls(check(folder), work, bootstrap)

    def publish(self, topic: Topic, events: int) -> dict[str, Any]:
        """Make so many events and their truth, and put them on the topic; what the generator says of them."""
        self._run("workload.py", topic, BENCH_N=str(events))
        self._run("pub.py", topic)
        (self.work / "data" / f"{topic}.pkl").unlink()
        return dict(json.loads((self.work / "data" / f"{topic}.meta.json").read_text()))

    def live(self, topic: Topic, rate: int, seconds: int) -> None:
        """Updates of orders, so many a second; returns when the last is sent."""
        self._run("pub.py", "live", topic, str(rate), str(seconds))

    def freshness(self, table: str, topic: Topic, warm_up_seconds: float) -> dict[str, Any]:
        """Percentiles of the time from producing an event to the commit that shows it, by the commits' own times."""
        return dict(json.loads(self._run("freshness.py", "delta", table, topic, str(warm_up_seconds))))

    def verify(self, kind: Topic, export: Path) -> Verdict:
        """Compare an exported table with the truth, row by row and by a checksum."""
        found = json.loads(self._run("verify.py", kind, str(export)))
        counts = {name: value for name, value in found.items() if name not in ("rows", "truth_rows", "checksum_ok")}
        right = found["checksum_ok"] and found["rows"] == found["truth_rows"] and not any(counts.values())
        names = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in counts.items() if value)
        difference = f"{found['rows']:,} rows and {found['truth_rows']:,} would be right; {names or 'the checksum'}"
        return Verdict(right, found["rows"], "" if right else difference)

    def pattern(self, workload: Literal["w2", "w3"], most_offsets: int) -> PatternRun:
        """The published foreachBatch with MERGE by Spark, tuned; 0 is one batch for everything."""
        log = self.work / "pattern.log"
        command = self._command("peers/spark_delta.py", workload, "tuned", str(most_offsets))
        with (
            log.open("wb") as out,
            started(command, self._environment(), self.work, out) as process,
            Tree(root=process.pid).watched() as usage,
        ):
            code = process.wait()
        said = [line.removeprefix("RESULT ") for line in log.read_text().splitlines() if line.startswith("RESULT ")]
        if code or not said:
            raise ProgramFailed("The published pattern", log.read_text())
        result = json.loads(said[-1])
        verdict = self.verify(result["kind"], Path(result["export"]))
        shutil.rmtree(self.work / "out")
        return PatternRun(result["seconds"], result["start_s"], usage, verdict)

    def _run(self, program: str, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            self._command(program, *arguments),
            env={**self._environment(), **environment},
            cwd=self.work,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ProgramFailed(f"`{program} {' '.join(arguments)}`", done.stderr)
        return done.stdout

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [sys.executable, "-B", str(self.folder / program), *arguments]

    def _environment(self) -> dict[str, str]:
        own = {"BENCH_DIR": str(self.work), "BENCH_BROKER": self.bootstrap, "PYTHONPATH": ""}
        return {**os.environ, **own}


def check(folder: Path) -> Path:
    """The folder, if the programs are there; raises PeersMissing."""
    if not (folder / "workload.py").is_file():
        raise PeersMissing(folder)
    return folder.resolve()


@contextmanager
def started(
    command: list[str], environment: Mapping[str, str], folder: Path, log: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, all of which is killed at the end if it is still there."""
    process = subprocess.Popen(
        command, env=dict(environment), cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
