"""Versions from changes, as tables: each case is the changes of one key and the versions that they make."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from schemas.spec import Scd2Spec
from streams.compute import Compute, InDriver, InSpark
from streams.scd2 import broken_keys, surrogate_key, versions

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
PLACES = ("epoch", "major", "minor", "row", "offset")
HISTORY = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("note", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("_sequence", pa.struct([(name, pa.int64()) for name in PLACES])),
        ("_deleted", pa.bool_()),
        ("_unknown", pa.list_(pa.string())),
    ]
)
BEGINNING = None
DELETED = "deleted"

# A change is (position, seconds, name or DELETED, note); a version is (from, to, name, note).
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
    "a clock that runs backwards does not turn versions over": (
        [(1, 30, "a", "x"), (2, 20, "b", "x"), (3, 40, "c", "x")],
        [(BEGINNING, 30.000001, "a", "x"), (30.000001, 40, "b", "x"), (40, None, "c", "x")],
    ),
    "changes in one moment follow each other": (
        [(1, 10, "a", "x"), (2, 10, "b", "x"), (3, 10, "c", "x")],
        [(BEGINNING, 10.000001, "a", "x"), (10.000001, 10.000002, "b", "x"), (10.000002, None, "c", "x")],
    ),
}


def history_of(rows: list[tuple[Any, ...]]) -> pa.Table:
    """(id, name, note, seconds, position, is deleted, unknown columns) as a history."""
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 7
    ids, names, notes, seconds, positions, deleted, unknown = map(list, columns)
    at = [datetime.fromtimestamp(one, UTC) for one in seconds]
    values = [ids, names, notes, at, [dict(zip(PLACES, one, strict=True)) for one in positions], deleted, unknown]
    return pa.table([pa.array(one, field.type) for one, field in zip(values, HISTORY, strict=True)], schema=HISTORY)


@pytest.fixture(params=["driver", "spark"])
def compute(request: pytest.FixtureRequest) -> Compute:
    return InDriver() if request.param == "driver" else InSpark(request.getfixturevalue("spark"))


def versions_of(compute: Compute, rows: list[tuple[Any, ...]], spec: Scd2Spec = SPEC) -> list[dict[str, Any]]:
    found = versions(compute, compute.of(history_of(rows)), HISTORY.names, spec)
    assert broken_keys(compute, found, spec) == 0
    table = found if isinstance(found, pa.Table) else found.toArrow()
    return table.to_pylist()  # type: ignore[no-any-return]


def place(position: float, row: int = 0) -> tuple[int, int, int, int, int]:
    return (0, int(position), 1, row, 0)


def span(version: dict[str, Any]) -> tuple[Any, ...]:
    start = version["valid_from"]
    end = version["valid_to"]
    assert version["is_current"] == (end is None)
    begins = BEGINNING if start.year == 1 else start.timestamp()
    return (version["name"], version["note"], begins, None if end is None else end.timestamp())


def test_versions_of_each_case_in_any_order_of_arrival(compute: Compute) -> None:
    """Every case is a key of its own, once per permutation of its changes."""
    rows: list[tuple[Any, ...]] = []
    expected: list[tuple[Any, ...]] = []
    keys = itertools.count(1)
    for changes, spans in CASES.values():
        for order in itertools.permutations(changes):
            key = next(keys)
            rows += [
                (key, None if name == DELETED else name, note, at, place(position), name == DELETED, None)
                for position, at, name, note in order
            ]
            expected += [(key, name, note, start, end) for start, end, name, note in spans]

    got = [(version["id"], *span(version)) for version in versions_of(compute, rows)]

    assert sorted(got, key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize(
    ("rows", "spans"),
    [
        pytest.param(
            [(1, "a", None, 10, place(1), False, None), (None, None, None, 20, place(4), True, None)],
            [("a", None, BEGINNING, 20)],
            id="a truncate ends the version",
        ),
        pytest.param(
            [
                (1, "b", None, 11, place(2), False, None),
                (None, None, None, 20, place(4), True, None),
                (1, "b", None, 30, place(5), False, None),
            ],
            [("b", None, BEGINNING, 20), ("b", None, 30, None)],
            id="and what comes after it begins anew",
        ),
        pytest.param(
            [(1, "a", None, 10, place(1), False, None), (None, None, None, 20, place(4, -1), True, None)],
            [("a", None, BEGINNING, 20)],
            id="the end of a snapshot ends a key that is not in it",
        ),
        pytest.param(
            [
                (1, "a", None, 10, place(1), False, None),
                (None, None, None, 20, place(4, -1), True, None),
                (1, "a", None, 20, place(4, 0), False, None),
            ],
            [("a", None, BEGINNING, None)],
            id="but not one that is: an equal row makes no new version",
        ),
        pytest.param(
            [
                (1, "a", "x", 10, place(1), False, None),
                (1, None, "y", 20, place(2), False, ["name"]),
                (1, "b", "z", 30, place(3), False, None),
            ],
            [("a", "y", BEGINNING, 30), ("b", "z", 30, None)],
            id="what a change does not tell is as it was",
        ),
        pytest.param(
            [
                (1, "a", "x", 10, place(1), False, None),
                (1, None, None, 15, place(2), True, None),
                (1, None, "y", 20, place(3), False, ["name"]),
            ],
            [("a", "x", BEGINNING, 15), (None, "y", 20, None)],
            id="but not as it was before a deletion",
        ),
        pytest.param(
            [(1, None, "y", 20, place(3), False, ["name"]), (1, "a", "x", 10, place(1), False, None)],
            [("a", "y", BEGINNING, None)],
            id="also where it is told later",
        ),
    ],
)
def test_what_is_not_of_one_key_or_not_whole(
    rows: list[tuple[Any, ...]], spans: list[tuple[Any, ...]], compute: Compute
) -> None:
    assert [span(version) for version in sorted(versions_of(compute, rows), key=lambda one: one["valid_from"])] == spans


@pytest.mark.parametrize(
    "names", [("number", "version", "happened", "starts"), ("newest", "tracked", "earlier", "ends_at")], ids=str
)
def test_a_column_may_have_any_name(names: tuple[str, str, str, str], compute: Compute) -> None:
    renamed = dict(zip(("id", "name", "note", "at"), names, strict=True))
    given = {"keys": [names[0]], "valid_from": names[3], "track_history_column_list": [names[1]]}
    spec = Scd2Spec.model_validate(SPEC.model_dump(by_alias=True) | given)
    changes = [(1, name, "x", 10, place(position), False, None) for position, name in enumerate("aabc")]
    history = history_of(changes).rename_columns([renamed.get(name, name) for name in HISTORY.names])

    found = versions(compute, compute.of(history), history.column_names, spec)
    assert broken_keys(compute, found, spec) == 0
    table = found if isinstance(found, pa.Table) else found.toArrow()
    assert sorted(table[names[1]].to_pylist()) == ["a", "b", "c"]


@pytest.mark.parametrize(("first", "year"), [("beginning", 1), ("valid_from", 1970)])
def test_where_the_first_version_starts(first: str, year: int, compute: Compute) -> None:
    spec = SPEC.model_copy(update={"first_version": first})

    [version] = versions_of(compute, [(1, "a", None, 10**6, place(1), False, None)], spec)

    assert version["valid_from"].year == year


@pytest.mark.parametrize("row", [0, -1], ids=["truncate", "snapshot end"])
def test_what_ends_every_key_says_nothing_of_one_first_heard_of_later(row: int, compute: Compute) -> None:
    rows = [
        (1, "a", "x", 10, place(1), False, None),
        (None, None, None, 20, place(2, row), True, None),
        (2, "b", "y", 30, place(3), False, None),
    ]

    found = sorted((version["id"], *span(version)) for version in versions_of(compute, rows))

    assert found == [(1, "a", "x", BEGINNING, 20), (2, "b", "y", BEGINNING, None)]


def test_the_surrogate_key_is_the_same_in_both_places(spark: SparkSession) -> None:
    kinds = StructType.fromDDL("a bigint, b string, c timestamp, d date, e decimal(9,2), f boolean")
    moment = datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC)
    values = [
        (1, "x", moment, date(9999, 12, 31), Decimal("1.50"), True),
        (None, None, None, None, None, None),
        (12, "3~", datetime(1, 1, 1, tzinfo=UTC), date(1, 1, 1), Decimal("-0.01"), False),
        (1, "23~", moment, date(1970, 1, 1), Decimal("0.00"), True),
    ]
    frame = spark.createDataFrame(values, kinds)
    keys = []
    for compute in (InDriver(), InSpark(spark)):
        key = surrogate_key(compute.dialect, {field.name: field.dataType for field in kinds})
        keys.append(compute.of(compute.sql(f"SELECT {key} AS k FROM t", {"t": compute.of(frame)})))

    assert keys[0]["k"].to_pylist() == keys[1].toArrow()["k"].to_pylist()
    assert len(set(keys[0]["k"].to_pylist())) == len(values)


def test_versions_that_can_not_be_are_found() -> None:
    def broken(*spans: tuple[int, int | None]) -> int:
        at = pa.timestamp("us", "UTC")
        starts, ends = [one for one, _ in spans], [one for _, one in spans]
        rows = {"id": pa.array([1] * len(spans)), "valid_from": pa.array(starts, at), "valid_to": pa.array(ends, at)}
        current = pa.array([end is None for end in ends])
        return broken_keys(InDriver(), pa.table({**rows, "is_current": current}), SPEC)

    assert broken((1, 5), (5, 7), (9, None)) == 0
    assert broken((1, 6), (5, None)) == 1  # they overlap
    assert broken((1, None), (5, None)) == 1  # two are current
    assert broken((5, 5)) == 1  # it is empty
