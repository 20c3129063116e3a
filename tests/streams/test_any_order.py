"""Any permutation, duplication and splitting of the same changes gives the same silver and the same versions.

The steps' own code on real Delta tables, against a model in plain Python; the changes are given as `canonical_changes`
makes them, so that a case takes some milliseconds. The same through bronze is in test_silver.py and test_cdc.py.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from schemas.spec import CurrentSpec, HistorySpec, Scd2Spec
from sinks.commit import Commit
from sinks.table import Table
from streams.changes import change_columns
from streams.compute import Compute, InDriver, InSpark, Rows
from streams.current import CurrentRows
from streams.scd2 import versions as versions_of
from streams.silver import ChangeStep
from tests.support import change_model
from tests.support.change_model import Event

COLUMNS = ("name", "doc")
POSITION = pa.struct([*((name, pa.int64()) for name in ("epoch", "major", "minor", "row", "partition", "offset"))])
VIOLATION = pa.struct([(name, pa.string()) for name in ("rule", "pointer", "schema_path")])
MOMENT = pa.timestamp("us", "UTC")
CHANGES = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("doc", pa.string()),
        ("at", MOMENT),
        ("_sequence", POSITION),
        ("_deleted", pa.bool_()),
        ("_ingest_ts", MOMENT),
        ("_batch_id", pa.string()),
        ("_source_system", pa.string()),
        ("_run_date", pa.date32()),
        ("_topic", pa.string()),
        ("_partition", pa.int64()),
        ("_offset", pa.int64()),
        ("__truncated", pa.bool_()),
        ("_unknown", pa.list_(pa.string())),
        ("__violations", pa.list_(VIOLATION)),
    ]
)
CHANGES_TYPE = from_arrow_schema(CHANGES)
SHARED: dict[str, Any] = {
    "from": "bronze.people",
    "keys": ["id"],
    "sequence_by": ["_source_position"],
    "select": {"id": "id", "name": "name", "doc": "doc", "at": "at"},
}
CURRENT = CurrentSpec.model_validate({**SHARED, "table": "silver.people", "stored_as_scd_type": 1})
HISTORY = HistorySpec.model_validate({**SHARED, "table": "silver.people_history", "stored_as": "history"})
VERSIONS = Scd2Spec.model_validate(
    {
        "table": "gold.dim_person",
        "from": "silver.people_history",
        "keys": ["id"],
        "stored_as_scd_type": 2,
        "surrogate_key": "sk",
        "valid_from": "at",
        "first_version": "valid_from",
        "track_history_except_column_list": ["at"],
    }
)
CLOCK = datetime(2026, 1, 2, tzinfo=UTC)


@st.composite
def source_histories(draw: st.DrawFn) -> list[Event]:
    """What a source wrote in its order: inserts, whole and partial updates, key changes, deletes, truncates, snapshots.

    Values are few, so that updates that change nothing, and equal versions that others stand between, are common.
    """
    value = st.sampled_from(["a", "b", None])
    rows: dict[int, dict[str, Any]] = {}
    events: list[Event] = []
    for lsn in range(1, draw(st.integers(2, 14)) + 1):
        seconds = draw(st.integers(0, 20))
        key = draw(st.integers(1, 3))
        op = draw(st.sampled_from(["put", "put", "put", "delete", "rename", "truncate", "snapshot"]))
        if op == "put" and key in rows and draw(st.booleans()):
            # The large column is unchanged, and not sent.
            rows[key] = {**rows[key], "name": draw(value)}
            events.append(Event((lsn, lsn, 0), "u", key, (("name", rows[key]["name"]),), seconds))
        elif op == "put":
            op = "u" if key in rows else "c"
            rows[key] = {"name": draw(value), "doc": draw(value)}
            told = dict(rows[key])
            if op == "c" and draw(st.booleans()):
                # A null that is not told, as under `ignore_null_updates`.
                rows[key]["doc"] = None
                del told["doc"]
            events.append(Event((lsn, lsn, 0), op, key, tuple(told.items()), seconds))
        elif op == "delete" and key in rows:
            del rows[key]
            events.append(Event((lsn, lsn, 0), "d", key, (), seconds))
        elif op == "rename" and key in rows:
            other = key % 3 + 1
            row = rows.pop(key)
            events.append(Event((lsn, lsn, 0), "d", key, (), seconds))
            if other not in rows:
                rows[other] = row
                events.append(Event((lsn, lsn, 0), "c", other, tuple(row.items()), seconds))
        elif op == "truncate":
            rows.clear()
            events.append(Event((lsn, lsn, 0), "t", None, (), seconds))
        elif op == "snapshot":
            # What happened while nothing was captured: some rows are gone, others are otherwise.
            for lost in draw(st.sets(st.integers(1, 3))):
                rows.pop(lost, None)
            for one, row in rows.items():
                events.append(Event((lsn, -1, 0), "r", one, tuple(row.items()), seconds))
            if rows:
                events.append(Event((lsn, -1, -1), "t", None, (), seconds))
    return events


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Event], list[list[Event]]]:
    """A source's history, and batches that deliver each event of it at least once, in any order."""
    events = draw(source_histories())
    copies = draw(st.lists(st.sampled_from(events), max_size=4)) if events else []
    order = [*events, *copies]
    random.Random(draw(st.integers(0, 10_000))).shuffle(order)
    if draw(st.booleans()):
        order.sort(key=lambda one: one.at)
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(order))), max_size=4)))
    batches = [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    return events, [batch for batch in batches if batch]


def changes_of(batch: list[Event], first_offset: int) -> pa.Table:
    rows = []
    for offset, event in enumerate(batch, first_offset):
        told = dict(event.row)
        is_row = event.op not in ("d", "t")
        unknown = [name for name in COLUMNS if name not in told] if is_row else []
        rows.append(
            {
                "id": event.key,
                "name": told.get("name"),
                "doc": told.get("doc"),
                "at": datetime.fromtimestamp(event.seconds, UTC),
                "_sequence": dict(zip([one.name for one in POSITION], (0, *event.at, 0, offset), strict=True)),
                "_deleted": event.op == "d",
                "_ingest_ts": CLOCK,
                "_batch_id": "b",
                "_source_system": "town",
                "_run_date": CLOCK.date(),
                "_topic": "people",
                "_partition": 0,
                "_offset": offset,
                "__truncated": event.op == "t",
                "_unknown": unknown or None,
                "__violations": None,
            }
        )
    return pa.Table.from_pylist(rows, schema=CHANGES)


def step_of(spec: CurrentSpec | HistorySpec, root: Path) -> ChangeStep:
    lake = Lake.at(str(root))
    step = ChangeStep(spec, Table(spec.table, lake), Table("bronze.people", lake), lake, 1_000)
    step.table.ensure(change_columns(CHANGES_TYPE, spec), (), additive=False)
    step._rows.prepare(CHANGES_TYPE)
    return step


def feed(step: ChangeStep, compute: Compute, batches: list[list[Event]], *, collects: bool = False) -> None:
    """Merge the batches; where it `collects`, all tombstones go after each, and bronze is what was fed so far."""
    first = 0
    fed: list[pa.Table] = []

    def deletions(keys: Rows) -> Rows:
        assert collects, "nothing was collected, so that nothing is to be looked up"
        newest = "SELECT id, max(_sequence) AS _sequence FROM fed JOIN wanted USING (id) WHERE _deleted GROUP BY id"
        return compute.sql(newest, {"fed": pa.concat_tables(fed), "wanted": keys})

    for number, batch in enumerate(batches):
        entry = LedgerEntry(
            table=step.table.name,
            step="merge",
            run_id=str(number),
            clock=CLOCK,
            generation=0,
            engine="none",
            source="feed",
        )
        fed.append(changes_of(batch, first))
        step.merge(compute, compute.of(fed[-1]), CHANGES_TYPE, Commit({"feed": number}, entry), deletions)
        if collects and isinstance(step._rows, CurrentRows):
            step._rows.tombstones.collect(CLOCK + timedelta(seconds=1))
        first += len(batch)


def current_rows(step: ChangeStep) -> dict[int, dict[str, Any]]:
    rows = step.table.to_arrow(["id", *COLUMNS]).to_pylist()
    found = {row["id"]: {name: row[name] for name in COLUMNS} for row in rows}
    assert len(found) == len(rows)
    return found


def version_rows(step: ChangeStep, compute: Compute) -> list[tuple[Any, ...]]:
    history = step.table.to_arrow(step.table.schema().names)
    found = compute.of(versions_of(compute, compute.of(history), history.column_names, VERSIONS))
    table = found if isinstance(found, pa.Table) else found.toArrow()
    micros = {name: table[name].cast(pa.int64()) for name in ("valid_from", "valid_to")}
    columns = zip(
        *(table[name].to_pylist() for name in ("id", *COLUMNS)),
        *(one.to_pylist() for one in micros.values()),
        strict=True,
    )
    return sorted(((key, (name, doc), start, end) for key, name, doc, start, end in columns), key=repr)


_A, _B = ("name", "a"), ("doc", "b")
_OLD, _PARTIAL = Event((1, 1, 0), "c", 3, (_A, _B), 0), Event((7, 7, 0), "c", 3, (_A,), 0)
_TRUNCATE = Event((5, 5, 0), "t", None, (), 0)
COLUMN_ENDED_LATE = ([_OLD, _TRUNCATE, _PARTIAL], [[_OLD, _PARTIAL], [_TRUNCATE]])
"""A truncate that comes late ends a column of a row that it leaves, to which no other change comes."""


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(delivery=deliveries(), collects=st.booleans())
@example(delivery=COLUMN_ENDED_LATE, collects=False)
@example(delivery=COLUMN_ENDED_LATE, collects=True)
def test_current_rows_in_any_order(
    delivery: tuple[list[Event], list[list[Event]]], collects: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events, batches = delivery
    step = step_of(CURRENT, tmp_path_factory.mktemp("lake"))

    feed(step, InDriver(), batches, collects=collects)

    assert current_rows(step) == change_model.current(events, COLUMNS)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(delivery=deliveries())
def test_history_and_versions_in_any_order(
    delivery: tuple[list[Event], list[list[Event]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    events, batches = delivery
    step = step_of(HISTORY, tmp_path_factory.mktemp("lake"))

    feed(step, InDriver(), batches)

    assert version_rows(step, InDriver()) == change_model.versions(events, COLUMNS)


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(delivery=deliveries())
@example(delivery=COLUMN_ENDED_LATE)
def test_spark_comes_to_the_same(
    delivery: tuple[list[Event], list[list[Event]]], tmp_path_factory: pytest.TempPathFactory, spark: SparkSession
) -> None:
    events, batches = delivery
    root = tmp_path_factory.mktemp("lake")
    current, history = step_of(CURRENT, root), step_of(HISTORY, root)

    for step in (current, history):
        feed(step, InSpark(spark), batches, collects=True)

    assert current_rows(current) == change_model.current(events, COLUMNS)
    assert version_rows(history, InSpark(spark)) == change_model.versions(events, COLUMNS)
