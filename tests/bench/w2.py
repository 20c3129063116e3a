"""Orders by upsert: a full topic through bronze to the current row of each key, beside Delta's published MERGE."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench import drained, shop
from tests.bench.drained import Workload

WORKLOAD = Workload(
    name="w2",
    topic="orders",
    events=1_000_000,
    pipeline=shop.write_orders,
    tables=(shop.ORDERS, shop.ORDERS_NOW),
    patterns={"MERGE, 100,000 a batch": 100_000, "MERGE by Spark, one batch": 0},
    rate=40_000,
    times=4,
)


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    return drained.main(WORKLOAD, __doc__, arguments)
