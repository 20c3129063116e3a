"""Changes that DuckDB makes in the driver are those that Spark makes, row for row and type for type."""

from __future__ import annotations

import copy
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from schemas.arrow_values import arrow_type
from schemas.quality.column_rules import Between, InSet, MatchRegex, NotNull
from schemas.spec import CurrentSpec
from streams.changes import canonical_changes
from streams.driver_changes import DriverChanges
from streams.graph import Graph
from tests.support.bronze import Feeder, change
from tests.support.people import person

SPEC: dict[str, Any] = {
    "table": "silver.people",
    "from": "bronze.people",
    "keys": ["id"],
    "sequence_by": ["_source_position"],
    "apply_as_deletes": "op = 'd'",
    "apply_as_truncates": "op = 't'",
    "stored_as_scd_type": 1,
    "select": {
        "id": "after.id",
        "name": "upper(after.name)",
        "city": "coalesce(trim(after.home.city), 'nowhere')",
        "home": "after.home",
        "both": "if(after.name = 'x', after.name, after.home.city)",
        "at": "timestamp_millis(source.ts_ms) -- when",
    },
}
RULES = (
    NotNull(type="expect_column_values_to_not_be_null", column="name", severity="critical"),
    Between(type="expect_column_values_to_be_between", column="id", min_value=1, max_value=50, severity="critical"),
    InSet(type="expect_column_values_to_be_in_set", column="name", value_set=("ADA", "BO"), severity="critical"),
    MatchRegex(
        type="expect_column_values_to_match_regex",
        column="city",
        regex="^[A-Z]",
        row_condition="name <> 'BO'",
        severity="critical",
    ),
)


def snapshot_row(row: dict[str, Any], lsn: int, word: str) -> dict[str, Any]:
    made = copy.deepcopy(change("r", row, lsn))
    made["source"]["snapshot"] = word
    return made


def bronze_rows(feeder: Feeder, names: tuple[str, str] = ("ada", "bo")) -> pa.Table:
    """Every kind of change that a feed has, as bronze holds it."""
    first, second = names
    unsent = person(4, first, "__debezium_unavailable_value")
    outcome = feeder.feed(
        "bronze.people",
        change("c", person(1, first, " Oslo "), 1, ts_ms=1_700_000_000_000),
        change("u", person(1, second), 2),
        change("u", person(99, first), 2),
        change("d", None, 3, before=person(1, "")),
        change("t", None, 4),
        change("u", unsent, 5),
        change("c", person(3, None), 6),
        snapshot_row(person(5, first), 7, "true"),
        snapshot_row(person(6, second), 7, "last"),
        change("u", person(6, "odd"), 8),
    )
    assert outcome.handover is not None
    rows = outcome.handover.rows.rows
    assert isinstance(rows, pa.Table)
    return rows


@pytest.mark.parametrize(
    "differs",
    [
        {},
        {"ignore_null_updates": True},
        {"apply_as_truncates": None},
        {"sequence_by": ["at"], "apply_as_truncates": None},
        {"sequence_by": ["at", "id"], "apply_as_deletes": None},
        {"keys": ["id", "name"]},
    ],
    ids=repr,
)
def test_both_make_the_same_changes(differs: dict[str, Any], silver_feeder: Feeder, spark: SparkSession) -> None:
    spec = CurrentSpec.model_validate({**SPEC, **differs})
    rows = bronze_rows(silver_feeder)
    made = DriverChanges(spec, RULES, lambda bronze: canonical_changes(bronze, spec, RULES), lambda _: {})

    found, kinds = made.of(spark, rows)
    expected = canonical_changes(spark.createDataFrame(rows), spec, RULES)

    assert made.plan_of(spark, rows).text is not None, "all of it is told by DuckDB"
    assert kinds == expected.schema
    assert found.schema == pa.schema(list(arrow_type(expected.schema)))
    assert sorted(found.to_pylist(), key=repr) == sorted(expected.toArrow().to_pylist(), key=repr)
    ends = [row["_offset"] for row in found.to_pylist() if row["__truncated"]]
    assert (8 in ends) == (spec.sequence_by == ("_source_position",)), "a completed snapshot ends what is older"


def test_a_batch_with_a_value_of_sparks_is_made_by_spark(silver_feeder: Feeder, spark: SparkSession) -> None:
    """And the batches after it are tried more and more rarely, so that no feed pays twice for each of them."""
    spec = CurrentSpec.model_validate(SPEC)
    asked = []

    def by_spark(bronze: Any) -> Any:
        asked.append(len(bronze.columns))
        return canonical_changes(bronze, spec)

    made = DriverChanges(spec, (), by_spark, lambda _: {})
    plain, odd = bronze_rows(silver_feeder), bronze_rows(silver_feeder, ("stra\u00dfe", "bo"))
    names = [name for name in made.of(spark, odd)[0]["name"].to_pylist() if name is not None]
    assert "STRASSE" in names, "as Java folds it"
    counts = []
    for rows in (plain, plain, odd, plain, plain, plain):
        asked.clear()
        made.of(spark, rows)
        counts.append(len(asked))
    # The one after the odd batch is Spark's; then DuckDB is tried, with success: the wait begins anew at one.
    assert counts == [1, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("column", ["initcap(after.name)", "after.name || '!'", "uuid()"])
def test_expressions_of_sparks_alone_are_left_to_it(
    column: str, silver_feeder: Feeder, silver_graph: Graph, spark: SparkSession
) -> None:
    spec = CurrentSpec.model_validate({**SPEC, "select": {"id": "after.id", "name": column}})
    made = DriverChanges(spec, (), lambda bronze: canonical_changes(bronze, spec), lambda _: {})
    rows = bronze_rows(silver_feeder)
    assert made.plan_of(spark, rows).text is None
    assert made.of(spark, rows)[0].num_rows == rows.num_rows + 1
