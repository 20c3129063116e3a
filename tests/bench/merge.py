"""A batch of 1,000 changes into silver tables of different sizes: what it takes and writes, by each engine."""

from __future__ import annotations

import argparse
import gc
import random
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import pyarrow as pa
from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table as Grid

from checkpoints import ledger
from deploy import jars
from schemas.loader import load
from schemas.settings import Settings, SparkSettings
from streams import session
from streams.graph import Graph
from tests.bench import big_table, delta_log, rig, shop
from tests.bench.export import visible
from tests.bench.failure import WrongResult
from tests.bench.machine import Tree, Usage
from tests.support.bronze import Feeder, change

Engine = Literal["driver", "spark"]

AIM_ROWS = 10_000_000
AIMS_SECONDS = {"scattered": 5.0, "neighbouring": 2.0}
KEYS = (*AIMS_SECONDS, "new")
_FIRST_LSN = big_table.FIRST_FREE_POSITION
_WARM_UP_ROWS = 10_000


@dataclass(frozen=True)
class Batch:
    """What the step of silver took for one batch, how many bytes it wrote, and how many data files."""

    seconds: float
    written_bytes: int
    files: int
    usage: Usage


@dataclass
class Batches:
    """The batches of one case that count, in order; `engine` is the one that committed them."""

    rows: int
    keys: str
    engine: str = ""
    runs: list[Batch] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median."""
        return median(run.seconds for run in self.runs)

    def peak_mb(self, part: str) -> float:
        """The most memory that a part had in any of them."""
        return max(run.usage.peak_mb(part) for run in self.runs)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 also where an aim is missed. Raises WrongResult where a batch did not arrive."""
    chosen = _parse(arguments)
    console = rig.console_with_machine()
    found: list[Batches] = []
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(rig.temporary(chosen.folder))
        pipeline = shop.write_orders(folder / "pipeline")
        settings = _settings(folder, pipeline)
        spark = session.build(settings, "sluice-bench")
        cleanup.callback(spark.stop)
        console.print(
            f"engine      Spark {spark.version}, {settings.spark.master}, heap {settings.spark.driver_memory}"
        )
        console.print(
            f"batches     {chosen.batch:,} changes; the first of each case, and the first table, only warm up"
        )
        for rows in (_WARM_UP_ROWS, *chosen.rows):
            base = folder / f"base-{rows}"
            _make(console, spark, settings, base, rows)
            for engine in chosen.engines:
                for keys in chosen.keys:
                    case = folder / f"{rows}-{engine}-{keys}"  # Delta remembers tables by their place
                    big_table.copy(base, case)
                    found.append(_measure(spark, _graph(settings, case, engine), rows, keys, chosen))
                    _print_progress(console, found[-1])
                    shutil.rmtree(case)
            shutil.rmtree(base)
        del found[: len(chosen.engines) * len(chosen.keys)]  # the smallest table warms up
    _print(console, chosen.batch, found)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench merge", description=__doc__)
    sizes = [100_000, 1_000_000, AIM_ROWS]
    parser.add_argument("--rows", type=int, nargs="*", default=sizes, help="rows of the tables (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1000, help="changes in a batch (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="batches that count (default: %(default)s)")
    parser.add_argument("--engines", nargs="*", choices=get_args(Engine), default=list(get_args(Engine)))
    parser.add_argument("--keys", nargs="*", choices=KEYS, default=list(KEYS))
    parser.add_argument("--folder", help="where the temporary folder is made; about 8 GB by default")
    return parser.parse_args(arguments)


def _settings(folder: Path, pipeline: Path) -> Settings:
    """The service's own, but for places that go away afterwards."""
    conf = {
        "spark.local.dir": str(folder / "spark"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.showConsoleProgress": "false",
    }
    return Settings(pipeline=pipeline, jars_dir=jars.resolve("service"), spark=SparkSettings(conf=conf))


def _graph(settings: Settings, lake: Path, engine: Engine) -> Graph:
    """The steps over a lake; Spark commits every batch where no batch is a small one."""
    update: dict[str, Any] = {"lake": str(lake)}
    if engine == "spark":
        update["small_batch_rows"] = 0  # of bronze too: what the driver holds, it also merges
    return Graph.build(load(settings.pipeline), settings.model_copy(update=update))


def _make(console: Console, spark: SparkSession, settings: Settings, lake: Path, rows: int) -> None:
    graph = _graph(settings, lake, "driver")
    graph.prepare(spark)
    table = graph.lake.table(shop.ORDERS_NOW)
    big_table.fill(table, rows)
    written = delta_log.commits(table)[-1]
    console.print(
        f"table       {rows:,} rows, sorted by key, in {written.adds} files of {written.written_bytes / 1e6:,.0f} MB"
    )


def _measure(spark: SparkSession, graph: Graph, rows: int, keys: str, chosen: argparse.Namespace) -> Batches:
    """Batches one after the other, each through bronze; what silver's step takes for it is measured."""
    graph.prepare(spark)
    feeder, table = Feeder(spark, graph), graph.tables[shop.ORDERS_NOW]
    step = graph.below[shop.ORDERS_NOW]
    rng, found, changed = random.Random(rows), Batches(rows, keys), dict[int, int]()
    gc.collect()
    pa.default_memory_pool().release_unused()
    for number in range(chosen.repeat + 1):
        batch = _keys(keys, rows, chosen.batch, number, rng)
        first = _FIRST_LSN + number * chosen.batch
        changed |= {key: first + index for index, key in enumerate(batch)}
        changes = [change("u", _row(key, first + index), first + index) for index, key in enumerate(batch)]
        handover = feeder.feed(shop.ORDERS, *changes).handover
        before = table.version()
        with Tree().watched() as usage:
            began = time.monotonic()
            step.run(spark, handover)
            seconds = time.monotonic() - began
        if handover is not None:
            handover.rows.release()
        if number:
            made = [commit for commit in delta_log.commits(table.path) if commit.version > before]
            found.runs.append(
                Batch(seconds, sum(commit.written_bytes for commit in made), sum(commit.adds for commit in made), usage)
            )
    found.engine = next(entry.engine for _, entry in ledger.entries(table.handle()) if entry.rows)
    _check(table.path, rows, keys, changed)
    return found


def _keys(keys: str, rows: int, count: int, number: int, rng: random.Random) -> list[int]:
    """The keys of one batch: any of the table's, some that stand together, or the next ones after its last."""
    if keys == "scattered":
        return rng.sample(range(rows), count)
    first = rng.randrange(rows - count) if keys == "neighbouring" else rows + number * count
    return list(range(first, first + count))


def _row(key: int, lsn: int) -> dict[str, Any]:
    return {
        "order_id": key,
        "customer_id": key % 20_001,
        "product_id": key % 1_000,
        "qty": 1 + key % 8,
        "amount": f"{lsn % 50_000 / 100:.2f}",
        "currency": "EUR",
        "status": "shipped",
        "order_ts": 1_762_000_000_000_000 + lsn,
    }


def _check(table: str, rows: int, keys: str, changed: dict[int, int]) -> None:
    """Each changed key has its newest change, once, and no other row has gone or come."""
    sums = {"rows": "count(*)", "changed": f"count(*) FILTER (WHERE lsn >= {_FIRST_LSN})", "lsn": "0"}
    sums["lsn"] = f"coalesce(sum(lsn) FILTER (WHERE lsn >= {_FIRST_LSN}), 0)"
    [found] = visible(table, sums).to_pylist()
    wanted = {"rows": len(changed.keys() | range(rows)), "changed": len(changed), "lsn": sum(changed.values())}
    if found != wanted:
        raise WrongResult(f"{keys} keys into {rows:,} rows", f"found {found}, and it should be {wanted}")


def _print_progress(console: Console, one: Batches) -> None:
    seconds = ", ".join(f"{run.seconds:.2f}" for run in one.runs)
    last = one.runs[-1]
    cost = f"CPU {last.usage.cpu_seconds:.1f} s, {last.written_bytes / 1e6:,.1f} MB, load {last.usage.load:.1f}"
    console.print(f"{one.rows:>10,}  {one.engine:8} {one.keys:14} {seconds} s   (the last: {cost})")


def _print(console: Console, batch: int, found: list[Batches]) -> None:
    grid = Grid(title=f"{batch:,} changes into silver: medians of a batch, and the range of its seconds")
    for name in ("rows", "engine", "keys"):
        grid.add_column(name, justify="right" if name == "rows" else "left")
    for name in ("seconds", "CPU s", "written MB", "files", "driver MB", "JVM MB", "load"):
        grid.add_column(name, justify="right")
    for one in found:
        seconds = [run.seconds for run in one.runs]
        grid.add_row(
            f"{one.rows:,}",
            one.engine,
            one.keys,
            f"{one.seconds:.2f} ({min(seconds):.2f} to {max(seconds):.2f})",
            f"{median(run.usage.cpu_seconds for run in one.runs):.2f}",
            f"{median(run.written_bytes for run in one.runs) / 1e6:,.2f}",
            f"{median(run.files for run in one.runs):,.0f}",
            f"{one.peak_mb('driver'):,.0f}",
            f"{one.peak_mb('jvm'):,.0f}",
            f"{median(run.usage.load for run in one.runs):.1f}",
        )
    console.print(grid)
    console.print("Memory is the largest RSS that was seen; what a case before had may still be in it.")
    for one in found:
        limit = AIMS_SECONDS.get(one.keys)
        if one.rows == AIM_ROWS and one.engine == "driver" and limit is not None:
            what = f"{one.keys} keys into {one.rows:,} rows"
            rig.aim(console, what, f"{one.seconds:.2f} s", f"{limit:g} s at most", met=one.seconds <= limit)
