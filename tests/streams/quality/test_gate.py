"""The gate alone: what it lets through, what it holds, what it remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from checkpoints import failpoints
from checkpoints.lake import Lake
from tests.support.gated import NO_SPARK, Items, created
from tests.support.judged import rule

NAMED = rule(type="expect_column_values_to_not_be_null", column="name", quarantine=False)
PRICED = rule(type="expect_column_values_to_be_between", column="price", min_value=0, quarantine=False)
UNIQUE = rule(type="expect_column_values_to_be_unique", column="name")
KNOWN = rule(type="expect_referential_integrity", column_list=["name"], to_table="silver.names")


@pytest.fixture
def items(tmp_path: Path) -> Items:
    return Items(Lake.at(str(tmp_path)))


def results(items: Items, *columns: str) -> list[tuple[Any, ...]]:
    rows = DeltaTable(f"{items.lake.root}/_ops/dq_results").to_pyarrow_table().to_pylist()
    rows.sort(key=lambda row: (row["version_to"], row["expectation_type"]))
    return [tuple(row[column] for column in columns) for row in rows]


def test_what_keeps_the_rules_goes_on_and_what_does_not_waits_until_it_does(items: Items) -> None:
    gate = items.gate(NAMED, PRICED)
    assert gate.ready(NO_SPARK) == 0
    first = items.put((1, "a", 1.0), (2, "b", 2.0))
    assert gate.ready(NO_SPARK) == first
    items.put((2, "b", -1.0))
    items.put((3, "c", 1.0))
    assert gate.ready(NO_SPARK) == first
    assert gate.held is not None
    assert [verdict.sentence for verdict in gate.held.failures] == [
        "expect_column_values_to_be_between(price) fails: 1 of 2 rows (id=2)"
    ]
    corrected = items.put((2, "b", 5.0))
    assert gate.ready(NO_SPARK) == corrected
    assert gate.held is None


def test_rows_are_judged_as_they_stand_now(items: Items) -> None:
    gate = items.gate(NAMED)
    items.put((1, "a"))
    gate.ready(NO_SPARK)
    items.put((1, None), (2, None))
    items.put((1, "a"))
    gone = items.put(delete=[2])
    assert gate.ready(NO_SPARK) == gone
    assert items.seen[-1].verdicts[0].elements == 1


def test_a_hold_survives_a_restart(items: Items) -> None:
    first = items.put((1, "a"))
    items.gate(NAMED).ready(NO_SPARK)
    items.put((2, None))
    assert items.gate(NAMED).ready(NO_SPARK) == first
    after = items.gate(NAMED)
    assert after.approved() == first
    assert after.ready(NO_SPARK) == first
    assert after.held is not None
    assert after.held.version == first + 1


def test_what_was_judged_and_not_kept_is_judged_again(items: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    first = items.put((1, "a"))
    items.gate(NAMED).ready(NO_SPARK)
    second = items.put((2, "b"))
    killed = failpoints.from_environment({failpoints.VARIABLE: "gate.before_verdict=raise"})
    monkeypatch.setattr("streams.quality.results.reach", killed)
    with pytest.raises(failpoints.Failpoint):
        items.gate(NAMED).ready(NO_SPARK)
    assert items.gate(NAMED).approved() == first

    assert items.gate(NAMED).ready(NO_SPARK) == second
    assert [(row[0], row[1]) for row in results(items, "version_to", "success")] == [(first, True), (second, True)]


def test_what_is_held_is_judged_once_until_something_changes(items: Items) -> None:
    gate = items.gate(NAMED)
    items.put((1, None))
    for _ in range(3):
        gate.ready(NO_SPARK)
    assert len(items.seen) == 1


def test_what_wrote_no_rows_needs_no_verdict(items: Items) -> None:
    gate = items.gate(NAMED)
    items.put((1, "a"))
    gate.ready(NO_SPARK)
    version = items.pass_by()
    assert gate.ready(NO_SPARK) == version
    assert len(results(items, "table")) == 1


def test_a_warning_holds_nothing(items: Items) -> None:
    gate = items.gate(NAMED.model_copy(update={"severity": "warn"}))
    version = items.put((1, None))
    assert gate.ready(NO_SPARK) == version
    assert [verdict.success for verdict in items.seen[-1].warnings] == [False]


def test_a_value_is_looked_for_in_the_whole_table(items: Items) -> None:
    gate = items.gate(UNIQUE)
    first = items.put((1, "a"), (2, "b"))
    assert gate.ready(NO_SPARK) == first
    items.put((3, "a"), (4, "c"))
    assert gate.ready(NO_SPARK) == first
    assert items.seen[-1].failures[0].keys == ("id=3",)
    moved = items.put((1, "z"))
    assert gate.ready(NO_SPARK) == moved


def test_a_reference_is_good_as_soon_as_the_other_table_has_it(items: Items) -> None:
    names = items.others["silver.names"] = created(items.lake, "silver.names")
    gate = items.gate(KNOWN)
    version = items.put((1, "a"), (2, "b"), (3, None))
    items.put((1, "a"), into=names)
    assert gate.ready(NO_SPARK) == 0
    assert (items.seen[-1].failures[0].keys, items.seen[-1].failures[0].missing) == (("id=2",), 1)
    items.put((9, "b"), into=names)
    assert gate.ready(NO_SPARK) == version


def test_the_rows_of_the_table_are_counted_and_summed_by_scope(items: Items) -> None:
    rules = [
        rule(type="expect_table_row_count_to_be_between", max_value=3),
        rule(type="expect_column_sum_to_be_between", column="price", max_value=5),
        rule(type="expect_column_sum_to_be_between", column="price", max_value=50, scope="table"),
        rule(type="expect_column_mean_to_be_between", column="price", max_value=50, scope="table"),
    ]
    gate = items.gate(*rules)
    items.put((1, "a", 1.0), (2, "b", 3.0))
    gate.ready(NO_SPARK)
    items.put((3, "c", 5.0))
    gate.ready(NO_SPARK)
    assert [verdict.observed for verdict in items.seen[0].verdicts] == [2, 4, 4, 2]
    assert [verdict.observed for verdict in items.seen[1].verdicts] == [3, 5, 9, 3]


def test_freshness_is_of_the_table_and_not_of_the_change(items: Items) -> None:
    gate = items.gate(rule(type="expect_freshness", column="at", max_age_seconds=600))
    items.put((1, "a", 1.0, -5))
    gate.ready(NO_SPARK)
    items.put((2, "a", 1.0, -300))
    gate.ready(NO_SPARK)
    assert [verdict.observed for one in items.seen for verdict in one.verdicts] == [300, 360]
    for at in range(3, 12):
        items.put((at, "a"))
    gate.ready(NO_SPARK)
    assert gate.held is not None


def test_drift_is_held_against_the_batches_before_even_after_a_restart(items: Items) -> None:
    drift = rule(type="expect_batch_drift", measure="mean", column="price", max_change=0.5, min_batches=3)
    for at, price in enumerate((10.0, 11.0, 9.0, 14.0)):
        version = items.put((at, "a", price))
        assert items.gate(drift).ready(NO_SPARK) == version
    items.put((9, "a", 30.0))
    gate = items.gate(drift)
    assert gate.ready(NO_SPARK) == version
    assert gate.held is not None
    passed = items.put((10, "a", 1.0), (11, "a", 1.0))
    assert gate.ready(NO_SPARK) == passed
    assert gate.ready(NO_SPARK) == passed


def test_results_have_the_fields_of_great_expectations_and_no_personal_value(items: Items) -> None:
    gate = items.gate(PRICED, UNIQUE, private=["name"])
    items.put((1, "ada", -1.0), (2, "ada", None))
    gate.ready(NO_SPARK)
    assert results(
        items,
        "table",
        "version_from",
        "version_to",
        "expectation_type",
        "kwargs",
        "severity",
        "success",
        "element_count",
        "missing_count",
        "unexpected_count",
        "unexpected_percent",
        "partial_unexpected_list",
        "partial_unexpected_keys",
    ) == [
        (
            *("silver.items", 0, 1, "expect_column_values_to_be_between", '{"column": "price", "min_value": 0}'),
            *("critical", False, 2, 1, 1, 100.0, ["-1.0"], ["id=1"]),
        ),
        (
            *("silver.items", 0, 1, "expect_column_values_to_be_unique", '{"column": "name"}'),
            *("critical", False, 2, 0, 2, 100.0, ["***", "***"], ["id=1", "id=2"]),
        ),
    ]


def test_a_large_change_is_judged_by_spark_alike(items: Items, spark: SparkSession) -> None:
    names = items.others["silver.names"] = created(items.lake, "silver.names")
    items.put((1, "a"), (2, "b"), into=names)
    rules = (NAMED, PRICED, UNIQUE, KNOWN)
    items.put((1, "a", 1.0), (2, "b", 1.0))
    items.gate(*rules).ready(NO_SPARK)
    items.put((3, "a", -1.0), (4, None, 1.0), (5, "x", 2.0), (2, None, None))
    items.gate(*rules).ready(NO_SPARK)
    items.few_rows = 1
    items.gate(*rules).ready(spark)
    assert items.seen[-1] == items.seen[-2]
    assert [verdict.unexpected for verdict in items.seen[-1].verdicts] == [2, 1, 1, 1]
