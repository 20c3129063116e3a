"""Entries come back from a table's log as they went in."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable, Schema
from deltalake.schema import Field, PrimitiveType

from checkpoints import ledger
from checkpoints.lake import Lake
from checkpoints.ledger import ContractUse, LedgerEntry
from sinks.commit import Commit
from sinks.table import Table

ENTRY = LedgerEntry(
    table="bronze.t",
    step="append",
    run_id=ledger.run_id("bronze.t", 0, 7),
    clock=datetime(2026, 1, 2, 23, 59, 59, 999000, tzinfo=UTC),
    generation=0,
    engine="none",
    source="kafka",
    batch_id=7,
    rows={"inserted": 3},
    offsets={"topic": {0: (5, 9), 1: (0, 2)}},
    read=6,
    accepted=3,
    rejected=2,
    dropped={"tombstone": 1},
    contract=ContractUse(name="c", version="3", hash="abc"),
)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    DeltaTable.create(f"{tmp_path}/bronze/t", Schema([Field("x", PrimitiveType("long"))]))
    return Table("bronze.t", Lake.at(str(tmp_path)))


def test_an_entry_comes_back_as_it_was(table: Table) -> None:
    table.commit_position(Commit({"bronze.t/append/g0": 7}, ENTRY))

    assert list(ledger.entries(table.handle())) == [(1, ENTRY)]
    assert table.position("bronze.t/append/g0") == 7
    assert table.position("bronze.t/append/g1") is None
    assert ENTRY.run_date == date(2026, 1, 2)


def test_run_ids_are_the_same_again_and_tell_runs_apart() -> None:
    assert ledger.run_id("q", 0, 1) == ledger.run_id("q", 0, 1)
    assert (
        len({ledger.run_id("q", 0, 1), ledger.run_id("q", 1, 0), ledger.run_id("q", 0, 11), ledger.run_id("p", 0, 1)})
        == 4
    )


def test_rows_between_counts_what_the_ledger_knows(table: Table) -> None:
    for batch in range(3):
        rows = {"inserted": batch} if batch else {}
        table.commit_position(Commit({"a": batch}, ENTRY.model_copy(update={"rows": rows})))

    assert ledger.rows_between(table.handle(), 1, 3) == 3
    assert ledger.rows_between(table.handle(), 1, 1) == 0
    assert ledger.rows_between(table.handle(), 0, 1) is None  # who made version 0 is not known


def test_the_clock_of_a_version_is_its_steps(table: Table) -> None:
    table.commit_position(Commit({"a": 1}, ENTRY))

    assert ledger.clock_at(table.handle(), 1) == ENTRY.clock
    made = datetime.fromtimestamp(table.handle().history()[-1]["timestamp"] / 1000, UTC)
    assert ledger.clock_at(table.handle(), 0) == made
