"""What the contract check costs: Kafka to bronze, beside Spark reading, decoding and appending without any check."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median as _median

from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table as Grid

from deploy import jars
from deploy.embedded.kafka import KafkaBroker
from schemas.settings import KafkaSettings, Settings, SparkSettings
from streams import logs, session
from tests.bench import events, machine, topics
from tests.bench.cases import Case, Run, all_cases

CHECK_AIM, REJECTS_AIM = 0.30, 0.15


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 also where an aim is missed: what is found is told, not judged."""
    options = _parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    logs.configure("ERROR", "console")
    for line in machine.description():
        console.print(line)
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="sluice-bench-", dir=options.folder))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        broker = KafkaBroker(folder / "kafka")
        cleanup.callback(broker.kill)
        broker.start()
        console.print(f"Filling two topics with {options.events:,} events each.")
        broker.create_topics({topics.CLEAN: topics.PARTITIONS, topics.BROKEN: topics.PARTITIONS})
        topics.fill(broker.bootstrap, options.events)
        settings = _settings(folder, broker.bootstrap)
        spark = session.build(settings, "sluice-bench")
        cleanup.callback(spark.stop)
        _print_settings(console, settings, spark, options.events)
        cases = [
            case
            for case in all_cases(settings, spark, folder, options.events)
            if not options.cases or case.name in options.cases
        ]
        runs = _measure(console, cases, machine.Tree(broker.pids), options.repeat)
    _print(console, cases, runs)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench contract", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="records on each topic (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each case that count (default: %(default)s)")
    parser.add_argument("--cases", nargs="*", metavar="NAME", help="only these, by their names in the table")
    parser.add_argument("--folder", help="where the temporary folder is made; about 3 GB for a million events")
    return parser.parse_args(arguments)


def _settings(folder: Path, bootstrap: str) -> Settings:
    """The service's own, but for places that go away afterwards."""
    conf = {
        "spark.local.dir": str(folder / "spark"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.showConsoleProgress": "false",
    }
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=bootstrap),
        jars_dir=jars.resolve("service"),
        spark=SparkSettings(conf=conf),
    )


def _print_settings(console: Console, settings: Settings, spark: SparkSession, count: int) -> None:
    key, value = next(events.keys_and_values(1, broken=False))
    console.print(f"engine      Spark {spark.version}, {settings.spark.master}: driver and executor are one JVM")
    console.print(
        f"heap        {settings.spark.driver_memory} (spark.driver.memory); the Python workers have their own"
    )
    console.print(f"records     {len(value):,} bytes and a key of {len(key)}, in {topics.PARTITIONS} partitions")
    console.print(
        f"batches     {settings.max_offsets_per_trigger:,} records unless a case says otherwise; "
        f"up to {settings.small_batch_rows:,} the driver commits"
    )


def _measure(console: Console, cases: Sequence[Case], tree: machine.Tree, repeat: int) -> dict[str, list[Run]]:
    """The cases in turn, round after round: a drift of the machine hits all alike. The first round is not counted."""
    runs: dict[str, list[Run]] = {case.name: [] for case in cases}
    for number in range(repeat + 1):
        for case in cases:
            found = case.run(tree)
            kind = f"run {number}" if number else "warm-up"
            console.print(f"{kind:8}  {case.name:36} {found.seconds:6.1f} s   load {found.usage.load:.1f}")
            if number:
                runs[case.name].append(found)
    return runs


def _print(console: Console, cases: Sequence[Case], runs: dict[str, list[Run]]) -> None:
    grid = Grid(title="Kafka to bronze; medians, and the range of the seconds")
    grid.add_column("case")
    for name in ("events/s", "seconds", "CPU s", "written MB", "JVM MB", "driver MB", "workers MB", "load"):
        grid.add_column(name, justify="right")
    for case in cases:
        found = runs[case.name]
        seconds = [run.seconds for run in found]
        middle = _median(seconds)

        def peak(part: str, found: list[Run] = found) -> str:
            return f"{max(run.usage.peak_bytes.get(part, 0) for run in found) / 1e6:,.0f}"

        grid.add_row(
            case.name,
            f"{case.events / middle:,.0f}",
            f"{middle:.1f} ({min(seconds):.1f} to {max(seconds):.1f})",
            f"{_median(run.usage.cpu_seconds for run in found):.1f}",
            f"{_median(run.written_bytes for run in found) / 1e6:,.0f}",
            peak("jvm"),
            peak("driver"),
            peak("workers"),
            f"{_median(run.usage.load for run in found):.1f}",
        )
    console.print(grid)
    console.print("Memory is the largest RSS that was seen; the JVM's is a high-water mark, since it gives back late.")
    for name in runs:
        checked, _, suffix = name.partition(", 1% broken")
        if name.startswith("checked, 1% broken"):
            plain = "unchecked" if suffix == ", by Spark" else f"unchecked{suffix}"
            _aim(console, runs, f"{checked}{suffix}", plain, CHECK_AIM)
            _aim(console, runs, name, f"{checked}{suffix}", REJECTS_AIM)


def _aim(console: Console, runs: dict[str, list[Run]], name: str, over: str, aim: float) -> None:
    """One ratio, in seconds and, since other work on the machine touches them less, in CPU seconds too."""
    if not (runs.get(name) and runs.get(over)):
        return
    cost = _median(run.seconds for run in runs[name]) / _median(run.seconds for run in runs[over])
    cpu = _median(run.usage.cpu_seconds for run in runs[name]) / _median(run.usage.cpu_seconds for run in runs[over])
    verdict = "met" if cost <= 1 + aim else "missed"
    console.print(
        f"`{name}` over `{over}`: {cost - 1:+.0%}; the aim is {aim:+.0%} at most: {verdict} (CPU {cpu - 1:+.0%})"
    )
