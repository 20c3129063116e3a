"""`sluice audit`: what it prints, how it exits, and what it says of tables that it can not audit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from checkpoints.lake import Lake
from streams.cli import app
from tests.support import people
from tests.support.ledgered import Ledgered

Command = Callable[..., Result]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


@pytest.fixture
def table(lake: Lake) -> Ledgered:
    made = Ledgered(lake, name="bronze.people")
    made.batch({0: "aard-"})
    return made


@pytest.fixture
def audit(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `sluice audit` in this process; the log of the test run is left as it is."""
    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    folder = people.write(tmp_path / "pipeline", without_gold=True)

    def run(*arguments: str) -> Result:
        given = ["--set", f"lake={lake.root}", "--set", f"pipeline={folder}"]
        return CliRunner().invoke(app, ["audit", *arguments, *given])

    return run


def test_it_prints_a_line_for_each_table_and_exits_with_0_where_all_is_well(audit: Command, table: Ledgered) -> None:
    for _ in range(2):
        done = audit()

        assert (done.exit_code, done.stderr) == (0, "")
        assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
            "table batches read accepted rejected dropped without a record differences",
            "bronze.people 1 4 2 1 1 1 0",
            "bronze.visits - - - - - - -",
        ]


def test_it_says_each_difference_and_exits_with_1(audit: Command, table: Ledgered) -> None:
    audit()
    table.delta().delete("_offset = 1")

    for arguments in ([], ["--full"], ["--table", "bronze.people"], ["--since", "2026-01-01"]):
        done = audit(*arguments)

        assert done.exit_code == 1
        run = next(iter(table.delta().to_pyarrow_table()["_batch_id"].to_pylist()))[:8]
        first, second, last = done.stderr.splitlines()
        assert first == f"bronze.people batch 0 (run {run}): shop[0]@0-5: 1 accepted row is not in the table: offset 1."
        assert "version 2 (DELETE, " in second
        assert last == "2 differences found."
    assert audit("--since", "5m").exit_code == 1  # the DELETE was made just now
    assert audit("--table", "bronze.visits").exit_code == 0


def test_json_has_the_same_as_fields(audit: Command, table: Ledgered) -> None:
    table.plan(1)
    entry = table.entry({0: "r"})
    table.write_lane(entry, {0: [5]})
    table.delta().delete("_offset = 1")

    done = audit("--json", "--table", "bronze.people")

    [found] = json.loads(done.stdout)
    assert done.exit_code == 1
    assert {name: found[name] for name in ("table", "version", "batches", "read", "accepted", "without_record")} == {
        "table": "bronze.people",
        "version": 2,
        "batches": 1,
        "read": 4,
        "accepted": 2,
        "without_record": 1,
    }
    row, _ = found["differences"]
    fields = ("kind", "batch_id", "generation", "topic", "partition", "start", "end", "offsets")
    assert [row[name] for name in fields] == ["rows", 0, 0, "shop", 0, 0, 5, "1"]
    assert found["in_flight"] == [f"bronze.people batch 1 (run {entry.run_id[:8]})"]
    assert "In flight: bronze.people batch 1" in audit().stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--table", "bronze.peple"], "There is no table `bronze.peple`. Did you mean `bronze.people`?"),
        (["--table", "silver.people"], "silver.people reads no topic: it is bronze tables that are audited."),
        (["--since", "soon"], "--since soon: that is no time."),
    ],
)
def test_what_can_not_be_audited_is_told_in_a_sentence(arguments: list[str], sentence: str, audit: Command) -> None:
    done = audit(*arguments)

    assert done.exit_code == 2
    assert sentence in " ".join(done.stderr.split())
