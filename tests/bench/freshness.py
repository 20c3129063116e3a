"""From a commit in PostgreSQL to the row in gold.fact_sales: the shop's own pipeline, with its gate and without."""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table as Grid

from deploy.embedded import shop
from deploy.embedded.stack import EmbeddedStack
from schemas import loader
from tests.bench import delta_log, rig
from tests.bench.failure import WrongResult
from tests.bench.machine import Tree, Usage
from tests.bench.service import SluiceService

P99_AIM_SECONDS = 5.0
_FACTS = "gold.fact_sales"
_TICK_SECONDS = 0.1
_DRAIN_SECONDS = 180.0
_CUSTOMERS, _PRODUCTS, _ORDERS = 200, 50, 500
_PIPELINE = Path(loader.__file__).parent
_INSERT = (
    "INSERT INTO orders (order_id, customer_id, product_id, quantity, amount, currency, status, order_ts) "
    "VALUES (%s, %s, %s, 1, %s, 'EUR', 'placed', %s)"
)


@dataclass(frozen=True)
class Sent:
    """Orders of one transaction: the first key, the key after the last, and when it was committed (epoch seconds)."""

    first: int
    end: int
    at: float


@dataclass(frozen=True)
class Case:
    """What came of one rate, with the gate or without: seconds of each order, and what was used meanwhile."""

    rate: int
    has_gate: bool
    seconds: np.ndarray[tuple[int], np.dtype[np.float64]]
    commits: int
    usage: Usage


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 also where the aim is missed. Raises WrongResult where an order did not arrive."""
    chosen = _parse(arguments)
    console = rig.console_with_machine()
    rig.print_settings(console, chosen.set)
    console.print("beside it   PostgreSQL, Debezium, Kafka and the registry, on the same cores")
    found: list[Case] = []
    for has_gate in (True, False) if chosen.gate == "both" else (chosen.gate == "with",):
        for rate in chosen.rates:
            found.append(_measure(chosen, rate, has_gate=has_gate))
            one = found[-1]
            p50, p99 = np.percentile(one.seconds, [50, 99])
            console.print(
                f"{rate:>5} a second, {_gate(one)}: p50 {p50:.2f} s, p99 {p99:.2f} s, load {one.usage.load:.1f}"
            )
    _print(console, chosen, found)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench freshness", description=__doc__)
    parser.add_argument(
        "--rates", type=int, nargs="*", default=[200, 1000], help="changes a second (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=int, default=120, help="how long they come (default: %(default)s)")
    parser.add_argument("--warm-up", type=float, default=20, help="seconds that are not counted (default: %(default)s)")
    parser.add_argument("--gate", choices=["both", "with", "without"], default="both")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of Sluice")
    parser.add_argument("--folder", help="where the temporary folder is made; about 2 GB")
    return parser.parse_args(arguments)


def _measure(chosen: argparse.Namespace, rate: int, *, has_gate: bool) -> Case:
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(rig.temporary(chosen.folder))
        stack = cleanup.enter_context(EmbeddedStack())
        shop.create_tables(stack.postgres.dsn)
        shop.seed(stack.postgres.dsn, customers=_CUSTOMERS, products=_PRODUCTS, orders=_ORDERS)
        stack.start_connect()
        stack.create_topics({"fx_rates": 2, "behavior": 2})
        shop.seed_fx_rates(stack.kafka.bootstrap)
        given = [f"registry.url={stack.registry.url}", f"pii.key={'0' * 64}", *chosen.set]
        service = SluiceService(folder / "run", _pipeline(folder, has_gate=has_gate), stack.kafka.bootstrap, given)
        with service.running() as process:
            _wait(service, _ORDERS, "the first facts")
            facts = service.lake.table(_FACTS)
            version = DeltaTable(facts).version()
            with Tree(root=process.pid).watched() as usage:
                sent = _traffic(stack.postgres.dsn, rate, chosen.seconds)
            _wait(service, _ORDERS + sum(one.end - one.first for one in sent), "all facts")
        return _case(facts, version, sent, Case(rate, has_gate, np.empty(0), 0, usage), chosen.warm_up)


def _pipeline(folder: Path, *, has_gate: bool) -> Path:
    made = folder / "pipeline"
    for name in (loader.CONTRACTS, loader.TABLES):
        shutil.copytree(_PIPELINE / name, made / name)
    for name in ("variables.yml", *([loader.RULES] if has_gate else [])):
        shutil.copy(_PIPELINE / name, made / name)
    return made


def _wait(service: SluiceService, rows: int, what: str) -> None:
    deadline = time.monotonic() + _DRAIN_SECONDS
    path = service.lake.table(_FACTS)
    found = 0
    while time.monotonic() < deadline:
        found = DeltaTable(path).count() if DeltaTable.is_deltatable(path) else 0
        if found >= rows:
            return
        time.sleep(0.5)
    raise WrongResult(_FACTS, f"{what}: {found:,} rows after {_DRAIN_SECONDS:g} s, and {rows:,} would be right")


def _traffic(dsn: str, rate: int, seconds: int) -> list[Sent]:
    """Orders at a steady rate, a transaction each tick; a tick that comes late is made up for."""
    sent: list[Sent] = []
    next_key = 1_000_000
    with psycopg.connect(dsn) as connection:
        began = time.monotonic()
        for tick in range(1, round(seconds / _TICK_SECONDS) + 1):
            if (ahead := began + tick * _TICK_SECONDS - time.monotonic()) > 0:
                threading.Event().wait(ahead)
            end = 1_000_000 + round(tick * _TICK_SECONDS * rate)
            now = datetime.now(UTC)
            rows = [
                (key, key % _CUSTOMERS + 1, key % _PRODUCTS + 1, Decimal(key % 50_000) / 100, now)
                for key in range(next_key, end)
            ]
            with connection.cursor() as cursor:
                cursor.executemany(_INSERT, rows)
            connection.commit()
            sent.append(Sent(next_key, end, time.time()))
            next_key = end
    return sent


def _case(facts: str, version: int, sent: Sequence[Sent], case: Case, warm_up: float) -> Case:
    """When each order was first to be seen: with the commit that inserted it."""
    table = DeltaTable(facts)
    feed = pa.table(
        table.load_cdf(version + 1, table.version(), columns=["order_id", "_change_type", "_commit_version"])
    )
    first = feed.group_by("order_id").aggregate([("_commit_version", "min")]).to_pydict()
    at = {commit.version: commit.at for commit in delta_log.commits(facts)}
    seen = {key: at[int(of)] for key, of in zip(first["order_id"], first["_commit_version_min"], strict=True)}
    begins = sent[0].at + warm_up
    keys = [(key, one.at) for one in sent if one.at >= begins for key in range(one.first, one.end)]
    if missing := [key for key, _ in keys if key not in seen]:
        raise WrongResult(_FACTS, f"{len(missing):,} orders have no fact")
    seconds = np.array([seen[key] - committed for key, committed in keys])
    return Case(case.rate, case.has_gate, seconds, len({seen[key] for key, _ in keys}), case.usage)


def _gate(case: Case) -> str:
    return "with the gate" if case.has_gate else "without it"


def _print(console: Console, chosen: argparse.Namespace, found: Sequence[Case]) -> None:
    grid = Grid(title=f"Seconds from PostgreSQL's commit to the commit of {_FACTS}, {chosen.seconds} s of new orders")
    for name in ("a second", "gate", "orders", "p50", "p95", "p99", "max", "commits", "CPU s/s", "JVM MB", "load"):
        grid.add_column(name, justify="left" if name == "gate" else "right")
    for case in found:
        grid.add_row(
            f"{case.rate:,}",
            "yes" if case.has_gate else "no",
            f"{len(case.seconds):,}",
            *(f"{value:.2f}" for value in np.percentile(case.seconds, [50, 95, 99])),
            f"{case.seconds.max():.2f}",
            f"{case.commits:,}",
            f"{case.usage.cpu_seconds / chosen.seconds:.2f}",
            f"{case.usage.peak_mb('jvm'):,.0f}",
            f"{case.usage.load:.1f}",
        )
    console.print(grid)
    console.print(
        f"Not counted: the first {chosen.warm_up:g} s. CPU is Sluice's own, of 2 cores that PostgreSQL, "
        "Debezium and Kafka use as well."
    )
    for case in found:
        p99 = float(np.percentile(case.seconds, 99))
        what = f"{case.rate:,} a second {_gate(case)}"
        rig.aim(console, what, f"p99 {p99:.2f} s", f"{P99_AIM_SECONDS:g} s at most", met=p99 <= P99_AIM_SECONDS)
