"""Freshness: orders changed at a steady rate, and how long after each its new row is to be seen in silver."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as Grid

from tests.bench import drained, rig, shop, w2
from tests.bench.export import visible
from tests.bench.failure import WrongResult
from tests.bench.machine import Tree, Usage
from tests.bench.peers import Peers
from tests.bench.service import SluiceService

P99_AIM_SECONDS = 2.5
_DRAIN_SECONDS = 120.0


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 also where the aim is missed. Raises WrongResult where a change did not arrive."""
    chosen = _parse(arguments)
    console = rig.console_with_machine()
    rig.print_settings(console, chosen.set)
    with rig.broker(chosen) as (folder, peers):
        console.print(f"Filling the topic with {chosen.events:,} events, and the tables from it.")
        peers.publish("orders", chosen.events)
        service = SluiceService(folder / "run", shop.write_orders(folder / "pipeline"), peers.bootstrap, chosen.set)
        service.drain(w2.WORKLOAD.tables)
        verdict = drained.verify(w2.WORKLOAD, service, peers, chosen.events)
        wanted = _newest(service)
        console.print(f"{verdict.rows:,} rows, as they should be. Now {chosen.rate:,} changes a second.")
        usage = _live(service, peers, wanted, chosen)
        _check(service, wanted)
        found = peers.freshness(service.lake.table(shop.ORDERS_NOW), "orders", chosen.warm_up)
        _print(console, chosen, found, usage)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = rig.options("w4", __doc__, w2.WORKLOAD.events, folder_gb=8)
    parser.add_argument("--rate", type=int, default=1000, help="changes a second (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=100, help="how long they come (default: %(default)s)")
    parser.add_argument(
        "--warm-up", type=float, default=10, help="seconds at the start that are not counted (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def _live(service: SluiceService, peers: Peers, wanted: dict[int, int], chosen: argparse.Namespace) -> Usage:
    """The service while the changes come, and until silver is as it should be; the usage is that of the former."""
    with service.running() as process:
        with Tree(root=process.pid).watched() as usage:
            peers.live("orders", chosen.rate, chosen.seconds)
        wanted.update((int(key), int(lsn)) for key, lsn, _ in np.load(peers.work / "data" / "orders.sent.npy"))
        deadline = time.monotonic() + _DRAIN_SECONDS
        while _newest(service) != wanted and time.monotonic() < deadline:
            time.sleep(1)
    return usage


def _check(service: SluiceService, wanted: dict[int, int]) -> None:
    """Silver has the rows that it had, and those that changed as they were changed last."""
    found = _newest(service)
    if found != wanted:
        missing = sum(key not in found for key in wanted)
        extra = sum(key not in wanted for key in found)
        other = sum(found.get(key, lsn) != lsn for key, lsn in wanted.items())
        raise WrongResult(
            shop.ORDERS_NOW, f"{missing:,} rows missing, {extra:,} too many, {other:,} of another version"
        )


def _newest(service: SluiceService) -> dict[int, int]:
    """Key -> LSN of what readers of silver see."""
    rows = visible(service.lake.table(shop.ORDERS_NOW), {"key": "order_id", "lsn": "lsn"})
    return dict(zip(rows["key"].to_pylist(), rows["lsn"].to_pylist(), strict=True))


def _print(console: Console, chosen: argparse.Namespace, found: dict[str, Any], usage: Usage) -> None:
    grid = Grid(title=f"{chosen.rate:,} changes a second: seconds from producing one to the commit that shows it")
    for name in (
        "changes",
        "p50",
        "p95",
        "p99",
        "max",
        "commits",
        "CPU s/s",
        "driver MB",
        "JVM MB",
        "workers MB",
        "load",
    ):
        grid.add_column(name, justify="right")
    grid.add_row(
        f"{found['events']:,}",
        *(f"{found[name]:.2f}" for name in ("p50_s", "p95_s", "p99_s", "max_s")),
        f"{found['commits']:,}",
        f"{usage.cpu_seconds / chosen.seconds:.2f}",
        *(f"{usage.peak_mb(part):,.0f}" for part in ("driver", "jvm", "workers")),
        f"{usage.load:.1f}",
    )
    console.print(grid)
    console.print(f"Not counted: the first {chosen.warm_up:g} s. Memory is of these {chosen.seconds} s alone.")
    if found["not_seen"]:
        console.print(f"{found['not_seen']:,} changes are in no file that the log adds: they were compacted away.")
    p99 = found["p99_s"]
    rig.aim(console, "w4", f"p99 {p99:.2f} s", f"{P99_AIM_SECONDS} s at most", met=p99 <= P99_AIM_SECONDS)
