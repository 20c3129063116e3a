"""The rounds: a fault in each, the service brought up again, everything drained, and held against the truth."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deltalake import DeltaTable

from deploy.embedded.stack import EmbeddedStack
from schemas.settings import Settings
from tests.support.moto import Moto
from tests.support.service import is_drained
from tests.support.town import Findings
from tests.torture.acts import bring_in_again
from tests.torture.database_town import DatabaseTown
from tests.torture.faults import FAULTS, Skipped

DISK = "size=160m"
ENGINES = {"driver": str(Settings.model_fields["small_batch_rows"].default), "spark": "0", "both": "12"}
"""Who commits -> `small_batch_rows`."""


@dataclass
class Report:
    """What a torture found; `recoveries` are seconds from a death to the first new commit after it, by engine."""

    seed: int
    lake: str
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    restarts: int = 0
    records: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)


class Torture:
    """One town under `rounds` faults; replayable by its seed, as far as time allows."""

    def __init__(
        self,
        stack: EmbeddedStack,
        folder: Path,
        jars: Path,
        seed: int,
        *,
        store: Moto | None = None,
        engines: Sequence[str] = ("driver",),
        say: Callable[[str], None] = print,
    ) -> None:
        self._mount = folder / "lake"
        self._mount.mkdir(parents=True)
        self._is_mounted = store is None and _mount(self._mount)
        root = "" if store is None else f"s3://{store.bucket}/torture{seed}"
        self.town = DatabaseTown(stack, folder, jars, f"torture{seed}", seed=seed, root=root, store=store)
        self.chance = random.Random(seed)
        self._engines, self._engine = engines, ""
        self.report = Report(seed, "a file system" if store is None else "S3")
        self._say = say

    def run(self, rounds: int, only: list[str] | None = None) -> Report:
        """So many rounds; with `only` of these faults, in this order."""
        began = time.monotonic()
        self.town.live(60)
        try:
            for number in range(rounds):
                self._round(number, only[number % len(only)] if only else None)
                if not self.report.is_clean:
                    break
            self._ensure_runs()
            self._finish()
        finally:
            self.report.seconds = time.monotonic() - began
            self._end()
        return self.report

    def _round(self, number: int, named: str | None) -> None:
        likely = {name: weight for name, (weight, _) in FAULTS.items() if name not in self.report.skipped}
        name = named or self.chance.choices(list(likely), list(likely.values()))[0]
        # Whatever starts from now on has this round's engine, a service that runs keeps its own.
        self._engine = self.chance.choice(self._engines)
        self.town.set("small_batch_rows", ENGINES[self._engine])
        self._ensure_runs()
        self.town.live(40)
        try:
            what = FAULTS[name][1](self.town, self.chance)
        except Skipped as why:
            self.report.skipped[name] = str(why)
            self._say(f"round {number + 1}: {name}: skipped, {why}")
            if named is None:
                self._round(number, None)  # with another one in its place
            return
        died = time.monotonic()
        self.town.live(20)
        is_dead = self._ensure_runs()
        if is_dead:
            self._wait_for_commit(died)
        self.town.settle()
        self.town.service.wait_for(is_drained, f"all is read after {name} ({what})")
        if name.startswith("rewind"):
            bring_in_again(self.town)
        self.report.rounds += 1
        self.report.faults[name] += 1
        found = self.town.look()
        self._take(found)
        self._say(
            f"round {number + 1}, starts by {self._engine}: {name} ({what}): {found.records:,} records, "
            f"lost {len(found.lost)}, duplicated {len(found.doubled)}, wrong {len(found.wrong)}"
        )

    def _take(self, found: Findings) -> None:
        report = self.report
        report.records, report.lost, report.doubled, report.wrong = (
            found.records,
            found.lost,
            found.doubled,
            found.wrong,
        )

    def _ensure_runs(self) -> bool:
        """Start the service where it is dead; whether it was."""
        process = self.town.service.process
        if process is not None and process.poll() is None:
            return False
        self.town.service.start()
        self.report.restarts += process is not None
        return True

    def _wait_for_commit(self, died: float) -> None:
        """Until bronze has a new batch: what comes before, as raised fences, is none."""
        rows = self._rows()
        while self._rows() == rows:
            if self.town.service.process is not None and self.town.service.process.poll() is not None:
                raise AssertionError(f"the service does not start again: {self.town.service.log.read_text()[-2000:]}")
            time.sleep(0.1)
            if time.monotonic() - died > 180:
                return
        self.report.recoveries.setdefault(self._engine, []).append(time.monotonic() - died)

    def _rows(self) -> int:
        return sum(
            DeltaTable(place).count()
            for place in (self.town.lake.table(name) for name in self.town.topics)
            if DeltaTable.is_deltatable(place)
        )

    def _finish(self) -> None:
        """Drain, and let Sluice's own commands look too: they must say the same."""
        self.town.settle()
        self.town.service.wait_for(is_drained, "all is read at the end")
        self.town.service.terminate()
        self._take(self.town.look())
        for command in (("audit",), ("verify",)):
            done = self.town.service.command(*command)
            if done.returncode:
                self.report.wrong.append(f"sluice {' '.join(command)}: {(done.stdout + done.stderr)[-500:]}")

    def _end(self) -> None:
        process = self.town.service.process
        if process is not None and process.poll() is None:
            self.town.service.kill()
        if self._is_mounted:
            subprocess.run(["umount", "-l", str(self._mount)], check=False, capture_output=True)


def _mount(folder: Path) -> bool:
    """Give the lake a small disk of its own, where that is allowed."""
    if os.geteuid() != 0:
        return False
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", str(folder)], check=False, capture_output=True)
    return done.returncode == 0
