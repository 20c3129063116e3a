"""Versions from changes, as tables: each case is the changes of one key and the versions that they make."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession

from schemas.spec import Scd2Spec
from streams.scd2 import versions

SPEC = Scd2Spec.model_validate(
    {
        "table": "gold.dim_person",
        "from": "silver.people_history",
        "keys": ["id"],
        "stored_as_scd_type": 2,
        "surrogate_key": "person_sk",
        "valid_from": "at",
        "track_history_column_list": ["name"],
    }
)
HISTORY = (
    "id bigint, name string, note string, at timestamp, "
    "_sequence struct<major: bigint, offset: bigint>, _deleted boolean"
)
BEGINNING = None
DELETED = "deleted"
TRUNCATED = "truncated"

# A change is (position, seconds, name or DELETED or TRUNCATED, note); a version is (from, to, name, note).
CASES: dict[str, tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]] = {
    "one change is one open version, from the beginning": ([(1, 10, "a", "x")], [(BEGINNING, None, "a", "x")]),
    "two values are two versions that meet": (
        [(1, 10, "a", "x"), (2, 20, "b", "x")],
        [(BEGINNING, 20, "a", "x"), (20, None, "b", "x")],
    ),
    "equal ones in a row are one": ([(1, 10, "a", "x"), (2, 20, "a", "x")], [(BEGINNING, None, "a", "x")]),
    "and come apart when a change falls between": (
        [(1, 10, "a", "x"), (2, 15, "b", "x"), (3, 20, "a", "x")],
        [(BEGINNING, 15, "a", "x"), (15, 20, "b", "x"), (20, None, "a", "x")],
    ),
    "a column that is not tracked takes its newest value": (
        [(1, 10, "a", "x"), (2, 20, "a", "y")],
        [(BEGINNING, None, "a", "y")],
    ),
    "null is a value: to it and from it": (
        [(1, 10, None, "x"), (2, 20, "a", "x"), (3, 30, None, "x")],
        [(BEGINNING, 20, None, "x"), (20, 30, "a", "x"), (30, None, None, "x")],
    ),
    "a delete ends the version": ([(1, 10, "a", "x"), (2, 20, DELETED, None)], [(BEGINNING, 20, "a", "x")]),
    "two deletes end it once": (
        [(1, 10, "a", "x"), (2, 20, DELETED, None), (3, 30, DELETED, None)],
        [(BEGINNING, 20, "a", "x")],
    ),
    "an insert after it begins anew, even with the same values": (
        [(1, 10, "a", "x"), (2, 20, DELETED, None), (3, 30, "a", "x")],
        [(BEGINNING, 20, "a", "x"), (30, None, "a", "x")],
    ),
    "only a delete: no version": ([(1, 10, DELETED, None)], []),
    "deleted first, then known": ([(1, 10, DELETED, None), (2, 20, "a", "x")], [(20, None, "a", "x")]),
    "a truncate ends every version": ([(1, 10, "a", "x"), (2, 20, TRUNCATED, None)], [(BEGINNING, 20, "a", "x")]),
    "a clock that runs backwards does not turn versions over": (
        [(1, 30, "a", "x"), (2, 20, "b", "x"), (3, 40, "c", "x")],
        [(BEGINNING, 30.000001, "a", "x"), (30.000001, 40, "b", "x"), (40, None, "c", "x")],
    ),
    "changes in one moment follow each other": (
        [(1, 10, "a", "x"), (2, 10, "b", "x"), (3, 10, "c", "x")],
        [(BEGINNING, 10.000001, "a", "x"), (10.000001, 10.000002, "b", "x"), (10.000002, None, "c", "x")],
    ),
}


BEGINNING_MICROS = -62_135_596_800_000_000  # the first day of year 1


def moment(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000_000)


def test_versions_of_each_case_in_any_order_of_arrival(spark: SparkSession) -> None:
    """Every case is a key of its own, once per permutation of its changes."""
    rows: list[tuple[Any, ...]] = []
    truncates: list[tuple[Any, ...]] = []
    expected: list[tuple[Any, ...]] = []
    keys = itertools.count(1)
    for changes, spans in CASES.values():
        for order in itertools.permutations(changes):
            if any(name == TRUNCATED for _, _, name, _ in order):
                continue
            key = next(keys)
            rows += [
                (
                    key,
                    None if name == DELETED else name,
                    note,
                    datetime.fromtimestamp(at, UTC),
                    (position, 0),
                    name == DELETED,
                )
                for position, at, name, note in order
            ]
            expected += [(key, name, note, moment(start), moment(end)) for start, end, name, note in spans]
    history = spark.createDataFrame(rows, HISTORY)

    found = versions(history, spark.createDataFrame(truncates, HISTORY), SPEC)

    got = [
        (row.id, row.name, row.note, None if row.start == BEGINNING_MICROS else row.start, row.end)
        for row in found.selectExpr(
            "id", "name", "note", "unix_micros(valid_from) AS start", "unix_micros(valid_to) AS end"
        ).collect()
    ]
    assert sorted(got, key=repr) == sorted(expected, key=repr)
    assert found.where("is_current != (valid_to IS NULL)").isEmpty()


def test_a_truncate_ends_every_key_and_a_later_insert_begins_anew(spark: SparkSession) -> None:
    at = datetime.fromtimestamp
    history = spark.createDataFrame(
        [
            (1, "a", None, at(10, UTC), (1, 0), False),
            (2, "b", None, at(11, UTC), (2, 0), False),
            (2, "b", None, at(30, UTC), (5, 0), False),
        ],
        HISTORY,
    )
    truncates = spark.createDataFrame([(None, None, None, at(20, UTC), (4, 0), True)], HISTORY)

    found = (
        versions(history, truncates, SPEC).selectExpr("id", "name", "unix_seconds(valid_to)", "is_current").collect()
    )

    assert sorted(map(tuple, found), key=repr) == [(1, "a", 20, False), (2, "b", 20, False), (2, "b", None, True)]


@pytest.mark.parametrize(("first", "year"), [("beginning", 1), ("valid_from", 1970)])
def test_where_the_first_version_starts(first: str, year: int, spark: SparkSession) -> None:
    spec = SPEC.model_copy(update={"first_version": first})
    history = spark.createDataFrame([(1, "a", None, datetime.fromtimestamp(10**6, UTC), (1, 0), False)], HISTORY)

    [row] = versions(history, history.limit(0), spec).selectExpr("year(valid_from)").collect()

    assert row[0] == year
