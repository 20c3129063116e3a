"""A topic that is full already, through Sluice and through the published pattern, in turn, on one broker."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from rich.console import Console
from rich.table import Table as Grid

from tests.bench import rig
from tests.bench.export import export
from tests.bench.failure import WrongResult
from tests.bench.machine import Usage
from tests.bench.outcome import outcome_of
from tests.bench.peers import Peers, Topic, Verdict
from tests.bench.service import Drain, SluiceService

SLUICE = "Sluice"


@dataclass(frozen=True)
class Workload:
    """A workload and its aims.

    `tables` are filled from bronze down, the last one is compared with the truth. `patterns` are forms of the
    published pattern by name, with the most records that a batch of theirs has; `times` is how many times faster than
    the first of them Sluice aims to be.
    """

    name: Literal["w2", "w3"]
    topic: Topic
    events: int
    pipeline: Callable[[Path], Path]
    tables: tuple[str, ...]
    patterns: dict[str, int]
    rate: int
    times: float | None = None


@dataclass(frozen=True)
class Run:
    """One run of one way to do it: `seconds` without the start of process, JVM and session, which is apart."""

    seconds: float
    start_seconds: float
    usage: Usage
    verdict: Verdict
    drain: Drain | None = None


def main(workload: Workload, description: str | None, arguments: Sequence[str]) -> int:
    """Measure and print; 0 also where an aim is missed. Raises WrongResult where Sluice's tables are not right."""
    chosen = _parse(workload, description, arguments)
    console = rig.console_with_machine()
    rig.print_settings(console, chosen.set)
    ways = [SLUICE, *([] if chosen.alone else workload.patterns)]
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    with rig.broker(chosen) as (folder, peers):
        console.print(f"Filling the topic with {chosen.events:,} events.")
        meta = peers.publish(workload.topic, chosen.events)
        console.print(f"topic       {meta['messages']:,} events, {meta['bytes'] / 1e6:,.0f} MB, in 4 partitions")
        for number in range(1, chosen.repeat + 1):
            for way in ways:
                run = (
                    _sluice(console, workload, folder / "run", peers, chosen)
                    if way == SLUICE
                    else _pattern(workload, way, peers)
                )
                runs[way].append(run)
                said = f"right: {run.verdict}   load {run.usage.load:.1f}"
                console.print(f"run {number}       {way:34} {run.seconds:6.1f} s   {said}", markup=False)
    _print(console, workload, chosen.events, runs)
    return 0


def _parse(workload: Workload, description: str | None, arguments: Sequence[str]) -> argparse.Namespace:
    parser = rig.options(workload.name, description, workload.events, folder_gb=4)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each (default: %(default)s)")
    parser.add_argument("--alone", action="store_true", help="without the published pattern")
    return parser.parse_args(arguments)


def _sluice(console: Console, workload: Workload, folder: Path, peers: Peers, chosen: argparse.Namespace) -> Run:
    service = SluiceService(folder, workload.pipeline(folder / "pipeline"), peers.bootstrap, chosen.set)
    drain = service.drain(workload.tables)
    parts = ", ".join(f"{part} {seconds:.0f}" for part, seconds in sorted(drain.usage.cpu_by_part.items()))
    console.print(
        f"            {SLUICE}: {drain.events:,} events in {drain.batches} batches, {drain.seconds:.1f} s; "
        f"first commit after {drain.first_commit_seconds:.1f} s; CPU {drain.usage.cpu_seconds:.0f} s ({parts})",
        markup=False,
    )
    verdict = verify(workload, service, peers, chosen.events)
    shutil.rmtree(folder)
    return Run(drain.seconds, drain.start_seconds, drain.usage, verdict, drain)


def verify(workload: Workload, service: SluiceService, peers: Peers, events: int) -> Verdict:
    """Every event is in bronze or in its lane, once, and the last table is what the truth says; raises WrongResult."""
    bronze = workload.tables[0]
    found = outcome_of(service.lake.table(bronze), service.lake.errors(bronze))
    if found.records != events or found.rows + found.lane_lines != events:
        raise WrongResult(
            bronze,
            f"{found.rows:,} rows and {found.lane_lines:,} lines in the lane, of {found.records:,} different records, "
            f"but the topic has {events:,}",
        )
    exported = export(service.lake.table(workload.tables[-1]), workload.topic, service.folder / "export")
    verdict = peers.verify(workload.topic, exported)
    if not verdict.right:
        raise WrongResult(workload.tables[-1], verdict.difference)
    return verdict


def _pattern(workload: Workload, way: str, peers: Peers) -> Run:
    found = peers.pattern(workload.name, workload.patterns[way])
    return Run(found.seconds, found.start_seconds, found.usage, found.verdict)


def _print(console: Console, workload: Workload, events: int, runs: dict[str, list[Run]]) -> None:
    grid = Grid(title="From the topic to the last table; medians, and the range of the seconds")
    grid.add_column("way")
    for name in ("events/s", "seconds", "start s", "CPU s", "driver MB", "JVM MB", "workers MB", "load"):
        grid.add_column(name, justify="right")
    grid.add_column("right?")
    for way, found in runs.items():
        seconds = [run.seconds for run in found]
        grid.add_row(
            way,
            f"{events / median(seconds):,.0f}",
            f"{median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})",
            f"{median(run.start_seconds for run in found):.1f}",
            f"{median(run.usage.cpu_seconds for run in found):.0f}",
            *(f"{max(run.usage.peak_mb(part) for run in found):,.0f}" for part in ("driver", "jvm", "workers")),
            f"{median(run.usage.load for run in found):.1f}",
            "yes" if all(run.verdict.right for run in found) else "NO",
        )
    console.print(grid)
    drains = [run.drain for run in runs[SLUICE] if run.drain is not None]
    first = median(drain.first_commit_seconds for drain in drains)
    console.print(f"Cold start: {first:.1f} s from the start of the process to the first commit of bronze.")
    if warm := [drain.warm_rate for drain in drains if drain.warm_rate is not None]:
        console.print(f"After the first batch: {median(warm):,.0f} events/s.")
    rate = events / median(run.seconds for run in runs[SLUICE])
    rig.aim(console, workload.name, f"{rate:,.0f} events/s", f"{workload.rate:,} at least", met=rate >= workload.rate)
    for index, way in enumerate(workload.patterns):
        if way not in runs:
            continue
        times = rate / (events / median(run.seconds for run in runs[way]))
        cpu = median(run.usage.cpu_seconds for run in runs[way]) / median(run.usage.cpu_seconds for run in runs[SLUICE])
        ratios = f"{times:.1f} times as fast (CPU seconds: {cpu:.1f} times)"
        if workload.times is not None and not index:
            rig.aim(console, f"over {way}", ratios, f"{workload.times:g} times at least", met=times >= workload.times)
        else:
            console.print(f"over {way}: {ratios}", markup=False)
