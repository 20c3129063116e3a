"""Great Expectations itself beside ours, over the same rows: the same verdict and the same counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from schemas.quality.column_rules import NotNull, Null
from schemas.quality.rule import MapRule
from streams.compute import InSpark
from streams.quality.verdict import Verdict
from tests.support.judged import judge, rule

Given = dict[str, Any]
Run = Callable[[pa.Table, Given], tuple[bool, dict[str, Any]]]

SCHEMA = pa.schema([("id", pa.int64()), ("a", pa.float64()), ("b", pa.float64()), ("s", pa.string())])


@pytest.fixture(scope="module")
def expectations() -> Run:
    """The success and the result of one expectation over rows."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    whole = asset.add_batch_definition_whole_dataframe("whole")

    def run(rows: pa.Table, said: Given) -> tuple[bool, dict[str, Any]]:
        frame = pd.DataFrame({name: _series(rows[name]) for name in rows.column_names})
        kwargs = {name: value for name, value in said.items() if name != "type"}
        if condition := kwargs.pop("row_condition", None):
            kwargs |= {"row_condition": PANDAS[condition], "condition_parser": "pandas"}
        words = said["type"].split("_")
        kind = getattr(gx.expectations, "".join(word.capitalize() for word in words))
        found = whole.get_batch({"dataframe": frame}).validate(kind(**kwargs), result_format="SUMMARY")
        assert not any(info.get("raised_exception") for info in _exceptions(found.exception_info)), found
        return bool(found.success), dict(found.result)

    return run


def _series(column: pa.ChunkedArray) -> pd.Series:
    """As pandas reads rows: numbers as floats with NaN for null, text as objects."""
    return column.to_pandas() if column.type != pa.string() else pd.Series(column.to_pylist(), dtype=object)


def _exceptions(info: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in info.values() if isinstance(one, dict)] or [info]


PANDAS = {
    "a > 1": "a > 1",
    "s = 'x'": "s == 'x'",
    "b IS NOT NULL AND a <= 2": "b.notnull() and a <= 2",
    "s IN ('x', 'yy') OR b <> 1": "s in ('x', 'yy') or (b.notnull() and b != 1)",
}
"""Conditions as ours are written, and as pandas has them; a null makes neither hold."""

COLUMN: list[Given] = [
    {"type": "expect_column_values_to_not_be_null", "column": "a"},
    {"type": "expect_column_values_to_not_be_null", "column": "s"},
    {"type": "expect_column_values_to_be_null", "column": "b"},
    {"type": "expect_column_values_to_be_unique", "column": "a"},
    {"type": "expect_column_values_to_be_unique", "column": "s"},
    {"type": "expect_column_values_to_be_between", "column": "a", "min_value": 1, "max_value": 2},
    {"type": "expect_column_values_to_be_between", "column": "a", "min_value": 1, "strict_min": True},
    {"type": "expect_column_values_to_be_between", "column": "b", "max_value": 1.5, "strict_max": True},
    {"type": "expect_column_values_to_match_regex", "column": "s", "regex": "^[xy]+$"},
    {"type": "expect_column_values_to_match_regex", "column": "s", "regex": "y.?"},
    {"type": "expect_column_values_to_not_match_regex", "column": "s", "regex": r"y\n|^$|'\\"},
    {"type": "expect_column_values_to_be_in_set", "column": "s", "value_set": ["x", "it's", "\\"]},
    {"type": "expect_column_values_to_be_in_set", "column": "a", "value_set": [1, 2.5]},
    {"type": "expect_column_values_to_not_be_in_set", "column": "s", "value_set": ["x", ""]},
    {"type": "expect_column_value_lengths_to_be_between", "column": "s", "min_value": 1, "max_value": 2},
    {"type": "expect_column_value_lengths_to_be_between", "column": "s", "max_value": 2, "strict_max": True},
]
PAIRS: list[Given] = [
    {"type": "expect_column_pair_values_a_to_be_greater_than_b", "column_A": "a", "column_B": "b"},
    {"type": "expect_column_pair_values_a_to_be_greater_than_b", "column_A": "a", "column_B": "b", "or_equal": True},
    {"type": "expect_column_pair_values_to_be_equal", "column_A": "a", "column_B": "b"},
]
COMPOUND: list[Given] = [{"type": "expect_compound_columns_to_be_unique", "column_list": ["a", "s"]}]
TABLE: list[Given] = [
    {"type": "expect_table_row_count_to_be_between", "min_value": 2, "max_value": 6},
    {"type": "expect_table_row_count_to_be_between", "min_value": 2, "strict_min": True},
    {"type": "expect_column_sum_to_be_between", "column": "a", "min_value": 2, "max_value": 8},
    {"type": "expect_column_mean_to_be_between", "column": "a", "min_value": 1, "strict_min": True},
    {"type": "expect_column_mean_to_be_between", "column": "b", "max_value": 2},
]
CASES: list[Given] = [
    *COLUMN,
    *({**one, "mostly": share} for one in (*COLUMN, *PAIRS, *COMPOUND) for share in (0.5, 0.75)),
    *({**one, "row_condition": condition} for one in (*COLUMN, *PAIRS, *COMPOUND) for condition in PANDAS),
    *({**one, "ignore_row_if": "either_value_is_missing"} for one in PAIRS),
    *({**one, "ignore_row_if": "neither"} for one in PAIRS),
    *({**one, "ignore_row_if": nulls} for one in COMPOUND for nulls in ("any_value_is_missing", "never")),
    *PAIRS,
    *COMPOUND,
    *TABLE,
]

NUMBERS = [None, 0.0, 1.0, 1.5, 2.0, 2.5]
TEXTS = [None, "", "x", "yy", "y\n", "xyx", "it's", "\\", "'\\", "ä", "日本語", "x\nz"]
ROWS = st.lists(st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS), st.sampled_from(TEXTS)), max_size=9)
EXAMPLES = [
    [],
    [(None, None, None)] * 3,
    [(1.0, 1.0, "x"), (1.0, None, "x"), (2.0, 1.0, "yy"), (None, 2.0, None), (None, 2.0, None)],
    [
        (1.5, 1.0, "y\n"),
        (2.5, 2.5, "\\"),
        (0.0, 1.0, "it's"),
        (2.0, None, "'\\"),
        (2.0, None, "日本語"),
        (1.0, 1.0, ""),
    ],
]


def table(rows: list[tuple[float | None, float | None, str | None]]) -> pa.Table:
    columns = zip(*((at, *row) for at, row in enumerate(rows)), strict=True) if rows else ((), (), (), ())
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


def hold_against(ours: Verdict, success: bool, result: dict[str, Any]) -> None:
    if not isinstance(ours.rule, MapRule):
        observed = result["observed_value"]
        if observed is None or ours.observed is None:
            return  # see test_nothing_to_work_out_holds_nothing_up
        assert (ours.success, ours.observed) == (success, pytest.approx(float(observed)))
        return
    assert ours.success == success, (ours, result)
    assert (ours.elements, ours.unexpected) == (result["element_count"], result["unexpected_count"]), (ours, result)
    assert ours.missing == (None if isinstance(ours.rule, (NotNull, Null)) else result["missing_count"])
    percent = result["unexpected_percent"]
    assert ours.unexpected_percent == (None if percent is None else pytest.approx(percent))


@pytest.mark.parametrize("rows", EXAMPLES, ids=["no rows", "nulls", "duplicates", "texts"])
def test_each_rule_says_what_great_expectations_says(
    rows: list[tuple[float | None, float | None, str | None]], expectations: Run
) -> None:
    given_rows = table(rows)
    for said, ours in zip(CASES, judge(given_rows, *(rule(**one) for one in CASES)), strict=True):
        hold_against(ours, *expectations(given_rows, said))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, said=st.lists(st.sampled_from(CASES), min_size=1, max_size=5))
def test_so_it_does_of_any_rows(
    rows: list[tuple[float | None, float | None, str | None]], said: list[Given], expectations: Run
) -> None:
    given_rows = table(rows)
    for one, ours in zip(said, judge(given_rows, *(rule(**one) for one in said)), strict=True):
        hold_against(ours, *expectations(given_rows, one))


@pytest.mark.parametrize("rows", EXAMPLES[1:], ids=["nulls", "duplicates", "texts"])
def test_spark_says_what_duckdb_says(
    rows: list[tuple[float | None, float | None, str | None]], spark: SparkSession
) -> None:
    given_rows = table(rows)
    rules = [rule(**one) for one in CASES]
    assert judge(given_rows, *rules, compute=InSpark(spark)) == judge(given_rows, *rules)


def test_nothing_to_work_out_holds_nothing_up(expectations: Run) -> None:
    """The one difference: there a mean of nothing fails, and here a batch without rows of a condition is no fault."""
    said = {"type": "expect_column_mean_to_be_between", "column": "a", "min_value": 1}
    rows = table([(None, 1.0, "x")])
    [ours] = judge(rows, rule(**said))
    success, result = expectations(rows, said)
    assert (ours.success, ours.observed) == (True, None)
    assert (success, result) == (False, {"observed_value": None})
