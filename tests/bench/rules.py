"""All quality rules of a table, judged by Sluice and by Great Expectations on the same rows."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.table import Table as Grid

from tests.bench import rig
from tests.bench.failure import WrongResult
from tests.support.judged import judge, rule

AIM_TIMES = 10.0
Given = dict[str, Any]
Found = dict[tuple[str, str], tuple[bool, int | None]]
"""A rule and its column -> whether it holds, and how many rows break it."""

SUITE: list[Given] = [
    {"type": "expect_column_values_to_not_be_null", "column": "order_id"},
    {"type": "expect_column_values_to_be_unique", "column": "order_id"},
    {"type": "expect_column_values_to_not_be_null", "column": "customer_id", "mostly": 0.99},
    {"type": "expect_column_values_to_be_between", "column": "quantity", "min_value": 1, "max_value": 100},
    {"type": "expect_column_values_to_be_between", "column": "amount", "min_value": 0, "strict_min": True},
    {"type": "expect_column_values_to_match_regex", "column": "currency", "regex": "^[A-Z]{3}$"},
    {"type": "expect_column_values_to_be_in_set", "column": "status", "value_set": ["placed", "paid", "shipped"]},
    {"type": "expect_column_value_lengths_to_be_between", "column": "status", "min_value": 4, "max_value": 10},
    {
        "type": "expect_column_pair_values_a_to_be_greater_than_b",
        "column_A": "shipped_day",
        "column_B": "order_day",
        "or_equal": True,
        "ignore_row_if": "either_value_is_missing",
    },
    {"type": "expect_compound_columns_to_be_unique", "column_list": ["customer_id", "order_id"]},
    {"type": "expect_table_row_count_to_be_between", "min_value": 1},
    {"type": "expect_column_mean_to_be_between", "column": "amount", "min_value": 1, "max_value": 1000},
    {"type": "expect_column_sum_to_be_between", "column": "quantity", "min_value": 1},
]


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 also where the aim is missed. Raises WrongResult where the two do not say the same."""
    chosen = _parse(arguments)
    console = rig.console_with_machine()
    rows = _rows(chosen.rows)
    console.print(f"rows        {chosen.rows:,}, {len(SUITE)} rules, some of which some rows break")
    ways: dict[str, Callable[[], Found]] = {"Sluice": lambda: _by_sluice(rows), "Great Expectations": _by_gx(rows)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    said: dict[str, Found] = {}
    for number in range(chosen.repeat + 1):
        for way, judged in ways.items():
            began = time.monotonic()
            said[way] = judged()
            if number:  # the first only warms up
                seconds[way].append(time.monotonic() - began)
    if said["Sluice"] != said["Great Expectations"]:
        raise WrongResult("the verdicts", f"{said['Sluice']} by Sluice, {said['Great Expectations']} by the other")
    grid = Grid(title="All rules once: medians, and the range")
    grid.add_column("by")
    for name in ("seconds", "rows/s"):
        grid.add_column(name, justify="right")
    for way, took in seconds.items():
        grid.add_row(
            way, f"{median(took):.2f} ({min(took):.2f} to {max(took):.2f})", f"{chosen.rows / median(took):,.0f}"
        )
    console.print(grid)
    times = median(seconds["Great Expectations"]) / median(seconds["Sluice"])
    rig.aim(console, "rules", f"{times:.1f} times as fast", f"{AIM_TIMES:g} times at least", met=times >= AIM_TIMES)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench rules", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each (default: %(default)s)")
    return parser.parse_args(arguments)


def _rows(count: int) -> pa.Table:
    rng = np.random.default_rng(7)
    days = rng.integers(0, 365, count)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    moments = np.array([start + timedelta(days=number) for number in range(400)])
    statuses, currencies = np.array(["placed", "paid", "shipped", "lost"]), np.array(["EUR", "USD", "gbp"])
    return pa.table(
        {
            "order_id": pa.array(np.arange(count)),
            "customer_id": pa.array(rng.integers(1, 20_000, count), mask=rng.random(count) < 0.001),
            "quantity": pa.array(rng.integers(0, 60, count)),
            "amount": pa.array(np.round(rng.random(count) * 500, 2)),
            "currency": pa.array(currencies[rng.choice(3, count, p=[0.6, 0.399, 0.001])]),
            "status": pa.array(statuses[rng.choice(4, count, p=[0.3, 0.3, 0.399, 0.001])]),
            "order_day": pa.array(moments[days], pa.timestamp("us", "UTC")),
            "shipped_day": pa.array(moments[days + rng.integers(-1, 30, count).clip(0)], pa.timestamp("us", "UTC")),
        }
    )


def _by_sluice(rows: pa.Table) -> Found:
    found = judge(rows, *(rule(**said) for said in SUITE))
    return {_named(said): (one.success, one.unexpected) for said, one in zip(SUITE, found, strict=True)}


def _named(said: Given) -> tuple[str, str]:
    return said["type"], str(said.get("column", ""))


def _by_gx(rows: pa.Table) -> Callable[[], Found]:
    """Its pandas engine, which has the rows as it wants them before the clock starts."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    frame: pd.DataFrame = rows.to_pandas()
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite("rules")
    for said in SUITE:
        kind = getattr(gx.expectations, "".join(word.capitalize() for word in said["type"].split("_")))
        suite.add_expectation(kind(**{name: value for name, value in said.items() if name != "type"}))

    def judged() -> Found:
        found = batch.validate(suite, result_format="SUMMARY")
        return {
            _named({**one.expectation_config.kwargs, "type": one.expectation_config.type}): (
                bool(one.success),
                one.result.get("unexpected_count"),
            )
            for one in found.results
        }

    return judged
