"""The sample of the star schema: each fact with the version of its customer that it was placed under."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from checkpoints.lake import Lake
from sinks.table import Tables
from streams.demo.sample import CUSTOMER, DAY, FACT, PRODUCT, star_of

NAMES = (FACT, CUSTOMER, PRODUCT, DAY)


def at(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


def fact(order: int, customer: int, version: str, day: int, usd: str | None = "2.00") -> dict[str, Any]:
    return {
        "order_id": order,
        "customer_id": customer,
        "customer_sk": version,
        "product_sk": "p1",
        "date_sk": 20260100 + day,
        "order_ts": at(day),
        "amount": Decimal("1.00"),
        "currency": "EUR",
        "amount_usd": None if usd is None else Decimal(usd),
    }


CUSTOMERS = [
    {"customer_sk": "a1", "customer_id": 1, "valid_from": at(1), "city": "Leeds", "tier": "gold"},
    {"customer_sk": "a2", "customer_id": 1, "valid_from": at(3), "city": "York", "tier": "gold"},
    {"customer_sk": "b1", "customer_id": 2, "valid_from": at(1), "city": "Lyon", "tier": "silver"},
]
FACTS = [
    fact(10, 1, "a1", 2),
    fact(11, 1, "a2", 4),
    *(fact(20 + n, 2, "b1", 5 + n) for n in range(12)),  # newer, but of a customer that never changed
    fact(40, 3, "-1", 20),  # its customer is not known
    fact(41, 2, "b1", 20, usd=None),  # there is no rate for its day
]


def tables(tmp_path: Path) -> Tables:
    lake = Lake.at(str(tmp_path))
    products = [{"product_sk": "p1", "product_id": 1, "name": "books 1"}]
    days = [{"date_sk": 20260100 + day, "iso_weekday": 1} for day in range(1, 32)]
    for name, rows in zip(NAMES, (FACTS, CUSTOMERS, products, days), strict=True):
        write_deltalake(lake.table(name), pa.Table.from_pylist(rows))
    return Tables(lake, NAMES)


def test_a_customer_that_changed_is_shown_under_both_versions(tmp_path: Path) -> None:
    shown = {row.order_id: row for row in star_of(tables(tmp_path)).sample}
    assert (shown[10].city, shown[10].version, shown[10].versions) == ("Leeds", 1, 2)
    assert (shown[11].city, shown[11].version, shown[11].versions) == ("York", 2, 2)


def test_the_rest_are_the_newest_that_are_complete(tmp_path: Path) -> None:
    sample = star_of(tables(tmp_path)).sample
    assert len(sample) == 8
    assert {row.order_id for row in sample} == {10, 11, 41, 31, 30, 29, 28, 27}


def test_the_counts(tmp_path: Path) -> None:
    star = star_of(tables(tmp_path))
    assert (star.facts, star.customers, star.versions, star.changed_customers) == (16, 2, 3, 1)
    assert star.incomplete == 2


def test_an_empty_lake_gives_an_empty_star(tmp_path: Path) -> None:
    star = star_of(Tables(Lake.at(str(tmp_path)), NAMES))
    assert star.sample == ()
    assert star.facts == 0
