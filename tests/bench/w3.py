"""Customers with history: a full topic through bronze and history to SCD2 versions, beside Delta's published MERGE."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench import drained, shop
from tests.bench.drained import Workload

WORKLOAD = Workload(
    name="w3",
    topic="customers",
    events=400_000,
    pipeline=shop.write_customers,
    tables=(shop.CUSTOMERS, shop.CUSTOMERS_HISTORY, shop.CUSTOMERS_VERSIONS),
    patterns={"SCD2 MERGE, 50,000 a batch": 50_000, "SCD2 MERGE by Spark, one batch": 0},
    rate=25_000,
)


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    return drained.main(WORKLOAD, __doc__, arguments)
