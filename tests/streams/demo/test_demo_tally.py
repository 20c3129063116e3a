"""The tally and the comparison say exactly what does not hold, and nothing where all does."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from streams.demo.compare import Comparison
from streams.demo.sample import Star
from streams.demo.summary import Summary
from streams.demo.tally import TopicTally
from streams.demo.watch import Outcomes

GOOD = TopicTally(
    topic="fx_rates",
    made=12,
    broken=2,
    on_topic=12,
    outcomes=Outcomes(read=12, accepted=9, rejected=2, dropped=1),
    rows=9,
    lane_records=2,
)
SUMMARY = Summary(
    star=Star(sample=(), facts=3, customers=2, versions=3, changed_customers=1, incomplete=0),
    tallies=[GOOD],
    comparisons=[Comparison("orders", 3, 3, ())],
    problems=[],
    changes={"orders placed": 3},
    first_rows={"bronze.orders": 10.0, "bronze.fx_rates": 9.0, "gold.fact_sales": 20.0},
    lake="/tmp/lake",
    log="/tmp/log",
    kept=True,
)


def printed(summary: Summary) -> str:
    console = Console(file=StringIO(), width=120)
    summary.print(console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_tally_that_holds_has_no_differences() -> None:
    assert GOOD.differences == []
    assert SUMMARY.differences == []


@pytest.mark.parametrize(
    ("tally", "sentence"),
    [
        # a record that the generator made did not reach the topic
        (replace(GOOD, made=13), "fx_rates: 13 records made, but 12 records on the topic"),
        # a record on the topic was never read
        (replace(GOOD, made=13, on_topic=13), "fx_rates: 13 records on the topic, but 12 records read"),
        # a record was read, and nothing became of it
        (
            replace(GOOD, outcomes=replace(GOOD.outcomes, dropped=0)),
            "fx_rates: 12 records read, but 11 records accepted, rejected or dropped",
        ),
        # a broken record was accepted
        (replace(GOOD, broken=3), "fx_rates: 3 broken records made, but 2 records rejected"),
        # the ledger says more than the table holds, and less than the lane holds
        (replace(GOOD, rows=8), "fx_rates: 9 records accepted, but 8 rows in bronze"),
        (replace(GOOD, lane_records=3), "fx_rates: 2 records rejected, but 3 records in the error lane"),
    ],
)
def test_what_does_not_hold_is_said(tally: TopicTally, sentence: str) -> None:
    assert tally.differences == [sentence]
    text = printed(replace(SUMMARY, tallies=[tally]))
    assert "The tally does not hold:" in text
    assert sentence in text


def test_rows_that_differ_from_the_source_are_named() -> None:
    summary = replace(SUMMARY, comparisons=[Comparison("orders", 3, 2, (7,))])
    assert summary.differences == ["silver.orders: 2 rows, and 3 in the source; 1 keys differ: 7"]


def test_no_facts_is_not_a_good_end() -> None:
    assert replace(SUMMARY, star=replace(SUMMARY.star, facts=0)).differences == ["gold.fact_sales has no rows."]


def test_a_good_end_is_printed_with_its_sums() -> None:
    text = printed(SUMMARY)
    assert "The tally holds: 12 read = 9 accepted + 2 rejected + 1 dropped." in text
    assert "bronze 9.0 s, gold.fact_sales 20.0 s" in text
    assert "sluice status --set lake=/tmp/lake" in text


def test_a_lake_that_is_gone_is_not_offered() -> None:
    text = printed(replace(SUMMARY, kept=False))
    assert "The lake has been removed" in text
    assert "/tmp/lake" not in text
