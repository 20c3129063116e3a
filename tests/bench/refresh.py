"""The facts of 1,000 changed orders in stars of different sizes: what a refresh takes, by the driver and by Spark."""

from __future__ import annotations

import argparse
import random
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table as Grid

from checkpoints.ledger import LedgerEntry
from deploy import jars
from schemas import columns as c
from schemas.loader import load
from schemas.settings import PiiSettings, RegistrySettings, Settings, SparkSettings
from sinks import engine
from sinks.commit import Commit
from sinks.engine import Merge
from sinks.table import Table
from streams import session
from streams.graph import Graph
from streams.refresh import RefreshStep
from streams.steps import all_there_is
from tests.bench import big_table, delta_log, rig
from tests.bench.failure import WrongResult
from tests.bench.machine import Tree, Usage

Engine = Literal["driver", "spark"]

AIM_TIMES = 3.0
KEYS = ("newest", "scattered")
_FACTS, _ORDERS = "gold.fact_sales", "silver.orders"
_CHUNK = 1_000_000
_DAYS, _CUSTOMERS, _PRODUCTS = 365, 20_000, 1_000
_FIRST_DAY = date(2025, 1, 1)
_CURRENCIES = ["USD", "EUR", "GBP"]
_CLOCK = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Case:
    """The refreshes of one case that count, in order: seconds, bytes written, and what else they took."""

    rows: int
    keys: str
    engine: str
    seconds: list[float] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 also where the aim is missed. Raises WrongResult where a fact is not what its order is."""
    chosen = _parse(arguments)
    console = rig.console_with_machine()
    found: list[Case] = []
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(rig.temporary(chosen.folder))
        settings = _settings(folder)
        spark = session.build(settings, "sluice-bench")
        cleanup.callback(spark.stop)
        console.print(f"refreshes   {chosen.batch:,} changed orders; the first of each case only warms up")
        for rows in chosen.rows:
            graph = Graph.build(load(settings.pipeline), settings.model_copy(update={"lake": str(folder / str(rows))}))
            graph.prepare(spark)
            _fill(graph, rows)
            step = _step(graph)
            began = time.monotonic()
            step.run(spark, None)
            console.print(f"{rows:>10,}  the first facts, all at once: {time.monotonic() - began:.1f} s")
            for name in chosen.engines:
                for keys in chosen.keys:
                    found.append(_measure(spark, graph, replace(step, in_driver=name == "driver"), rows, keys, chosen))
                    seconds = ", ".join(f"{one:.2f}" for one in found[-1].seconds)
                    console.print(f"{rows:>10,}  {name:8} {keys:12} {seconds} s", markup=False)
            shutil.rmtree(folder / str(rows))
    _print(console, chosen, found)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench refresh", description=__doc__)
    sizes = [100_000, 1_000_000, 10_000_000]
    parser.add_argument("--rows", type=int, nargs="*", default=sizes, help="facts (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1000, help="changed orders (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="refreshes that count (default: %(default)s)")
    parser.add_argument("--engines", nargs="*", choices=get_args(Engine), default=list(get_args(Engine)))
    parser.add_argument("--keys", nargs="*", choices=KEYS, default=list(KEYS))
    parser.add_argument("--folder", help="where the temporary folder is made; about 8 GB by default")
    return parser.parse_args(arguments)


def _settings(folder: Path) -> Settings:
    conf = {
        "spark.local.dir": str(folder / "spark"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.showConsoleProgress": "false",
    }
    nowhere = RegistrySettings(url="http://127.0.0.1:9")  # nothing is read from a topic
    return Settings(
        jars_dir=jars.resolve("service"),
        registry=nowhere,
        pii=PiiSettings(key="0" * 64),
        spark=SparkSettings(conf=conf),
    )


def _step(graph: Graph) -> RefreshStep:
    """That of the facts, without a gate before it."""
    step = graph.below[_FACTS]
    if not isinstance(step, RefreshStep):
        raise TypeError(_FACTS)
    return replace(step, ready=all_there_is)


def _fill(graph: Graph, rows: int) -> None:
    """Orders of a year, the newest last, and all that they are joined with."""
    days = [_FIRST_DAY + timedelta(days=number) for number in range(_DAYS)]
    customers = np.arange(1, _CUSTOMERS + 1)
    _append(
        graph.tables["gold.dim_customer"],
        {
            "customer_id": pa.array(customers),
            "customer_sk": pa.array([f"{number:032x}" for number in customers]),
            "valid_from": pa.repeat(pa.scalar(datetime(1, 1, 1, tzinfo=UTC)), _CUSTOMERS),
            "country": pa.repeat(pa.scalar("NO"), _CUSTOMERS),
            "is_current": pa.repeat(pa.scalar(True), _CUSTOMERS),
        },
        _CUSTOMERS,
    )
    products = np.arange(1, _PRODUCTS + 1)
    keyed = {"product_id": pa.array(products), "product_sk": pa.array([f"{number:032x}" for number in products])}
    _append(graph.tables["gold.dim_product"], keyed, _PRODUCTS)
    dates = {"calendar_date": pa.array(days), "date_sk": pa.array([int(f"{day:%Y%m%d}") for day in days])}
    _append(graph.tables["gold.dim_date"], dates, _DAYS)
    rates = [(currency, day) for currency in _CURRENCIES[1:] for day in days]
    _append(
        graph.tables["silver.fx_rates"],
        {
            "currency": pa.array([currency for currency, _ in rates]),
            "rate_date": pa.array([day for _, day in rates]),
            "usd_rate": pa.repeat(pa.scalar(Decimal("1.08123400")), len(rates)),
        },
        len(rates),
    )
    for start in range(0, rows, _CHUNK):
        keys = np.arange(start, min(start + _CHUNK, rows), dtype="int64")
        _append(graph.tables[_ORDERS], _orders(keys, rows, 0), len(keys))


def _orders(keys: Any, rows: int, number: int) -> dict[str, pa.Array]:
    """Orders by their keys; those of another `number` differ in their amount and quantity."""
    days = keys * _DAYS // rows
    day = pa.array((days + (_FIRST_DAY - date(1970, 1, 1)).days).astype("int32"))
    micros = pc.add(pc.multiply(day.cast(pa.int64()), 86_400_000_000), pa.array(keys % 86_400 * 1_000_000))
    amounts = pc.multiply(pa.array(keys % 50_000 + number).cast(pa.decimal128(19, 0)), pa.scalar(Decimal("0.01")))
    return {
        "order_id": pa.array(keys),
        "customer_id": pa.array(keys % _CUSTOMERS + 1),
        "product_id": pa.array(keys % _PRODUCTS + 1),
        "quantity": pa.array(keys % 8 + 1 + number),
        "amount": amounts,
        "currency": pa.array(_CURRENCIES).take(pa.array(keys % len(_CURRENCIES))),
        "status": pa.repeat(pa.scalar("paid"), len(keys)),
        "order_ts": micros,
        "order_date": day,
    }


def _append(table: Table, values: dict[str, pa.Array], count: int) -> None:
    schema = pa.schema(table.handle().schema().to_arrow())
    engine.append(table, big_table.rows_of(schema, _with_metadata(values, count), count), _commit(table, count))


def _with_metadata(values: dict[str, pa.Array], count: int) -> dict[str, pa.Array]:
    return {
        **values,
        c.INGEST_TS: pa.repeat(pa.scalar(_CLOCK), count),
        c.BATCH_ID: pa.repeat(pa.scalar(str(uuid.UUID(int=0))), count),
        c.SOURCE_SYSTEM: pa.repeat(pa.scalar("bench"), count),
        c.RUN_DATE: pa.repeat(pa.scalar(_CLOCK.date()), count),
    }


def _commit(table: Table, rows: int) -> Commit:
    entry = LedgerEntry(
        table=table.name,
        step="merge",
        run_id=str(uuid.uuid4()),
        clock=_CLOCK,
        generation=0,
        engine="driver",
        source="full",
        rows={"upserts": rows},
    )
    return Commit({}, entry)


def _measure(
    spark: SparkSession, graph: Graph, step: RefreshStep, rows: int, keys: str, chosen: argparse.Namespace
) -> Case:
    """Changes of silver, one batch after the other; what the refresh takes for each is measured."""
    rng, case, orders = (
        random.Random(rows),
        Case(rows, keys, "driver" if step.in_driver else "spark"),
        graph.tables[_ORDERS],
    )
    schema = pa.schema(orders.handle().schema().to_arrow())
    clauses = Merge(["order_id"], schema.names, "FALSE", "TRUE", "TRUE")
    for number in range(1, chosen.repeat + 2):
        first = rows - chosen.batch
        batch = np.array(rng.sample(range(rows), chosen.batch) if keys == "scattered" else range(first, rows))
        values = _orders(batch, rows, number)
        changed = big_table.rows_of(schema, _with_metadata(values, len(batch)), len(batch))
        engine.merge(orders, changed, clauses, _commit(orders, len(batch)))
        before = step.table.version()
        with Tree().watched() as usage:
            began = time.monotonic()
            step.run(spark, None)
            seconds = time.monotonic() - began
        _check(step.table, changed, rows)
        if number > 1:
            made = [commit for commit in delta_log.commits(step.table.path) if commit.version > before]
            case.seconds.append(seconds)
            case.written.append(sum(commit.written_bytes for commit in made))
            case.usage.append(usage)
    return case


def _check(facts: Table, changed: pa.Table, rows: int) -> None:
    """There is a fact for each order, and those of the changed ones have their amounts."""
    if (found := facts.rows) != rows:
        raise WrongResult(_FACTS, f"{found} rows, and {rows} would be right")
    keys = changed["order_id"].combine_chunks()
    held = facts.of_keys(["order_id", "quantity", "amount"], "order_id", keys).sort_by("order_id")
    wanted = changed.select(held.column_names).sort_by("order_id").cast(held.schema)
    if not held.equals(wanted):
        raise WrongResult(_FACTS, "a changed order's fact is not what the order is")


def _print(console: Console, chosen: argparse.Namespace, found: Sequence[Case]) -> None:
    grid = Grid(
        title=f"The facts of {chosen.batch:,} changed orders: medians of a refresh, and the range of its seconds"
    )
    for name in ("facts", "keys", "by", "seconds", "CPU s", "written MB", "load"):
        grid.add_column(name, justify="left" if name in ("keys", "by") else "right")
    for case in found:
        grid.add_row(
            f"{case.rows:,}",
            case.keys,
            case.engine,
            f"{median(case.seconds):.2f} ({min(case.seconds):.2f} to {max(case.seconds):.2f})",
            f"{median(usage.cpu_seconds for usage in case.usage):.2f}",
            f"{median(case.written) / 1e6:,.1f}",
            f"{median(usage.load for usage in case.usage):.1f}",
        )
    console.print(grid)
    by_rows = {(case.rows, case.keys): median(case.seconds) for case in found if case.engine == "driver"}
    for keys in chosen.keys:
        sizes = sorted(rows for rows, of in by_rows if of == keys)
        if len(sizes) > 1:
            times = by_rows[sizes[-1], keys] / by_rows[sizes[0], keys]
            what = f"{keys} keys, {sizes[-1]:,} facts against {sizes[0]:,}"
            rig.aim(
                console, what, f"{times:.1f} times the seconds", f"{AIM_TIMES:g} times at most", met=times <= AIM_TIMES
            )
