"""A restriction to affected keys holds for exactly the rows that have one, as constants and as a join."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import product

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from sinks.table import Feed
from streams.affected import KeySet, restricted

DAYS = [date(2026, 2, 1) + timedelta(days=number) for number in range(40)]
MAPPING = {"id": "customer", "at": "day"}
SCHEMA = pa.schema([("id", pa.int64()), ("at", pa.date32())])

CASES = [
    # the keys, whether they are constants
    ([(1, DAYS[0])], True),
    ([(1, DAYS[0]), (2, DAYS[0]), (3, DAYS[1])], True),  # more customers than days
    ([(1, DAYS[0]), (1, DAYS[1]), (2, DAYS[2])], True),  # more days than customers
    ([(None, DAYS[0]), (1, None), (None, None), (2, DAYS[0])], True),
    ([(number % 39, day) for number, day in enumerate(DAYS)], False),  # an alternative for each
]


@pytest.mark.parametrize(("keys", "is_constant"), CASES)
def test_exactly_the_rows_with_a_key_are_left(
    keys: list[tuple[int | None, date | None]], is_constant: bool, spark: SparkSession
) -> None:
    rows = list(product([None, *range(41)], [None, *DAYS]))
    frame = spark.createDataFrame(rows, "customer bigint, day date")
    feed = Feed(spark, pa.Table.from_pylist([dict(zip(MAPPING, key, strict=True)) for key in keys], SCHEMA))

    found = KeySet.of(feed, MAPPING, 1000)

    assert (found.literals is not None) == is_constant
    left = [tuple(row) for row in restricted(frame, [found], ["customer", "day"]).collect()]
    assert sorted(left, key=repr) == sorted(set(keys), key=repr)
