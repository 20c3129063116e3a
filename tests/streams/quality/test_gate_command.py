"""A gate that holds, in a whole pipeline: what is shown, released and discarded, and what gold is then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner, Result

from checkpoints.requests import Author, Rewind
from schemas.loader import load
from schemas.settings import Settings
from sinks.lanes.reader import LaneReader
from streams.acts.carry_out import carry_out
from streams.cli import app
from streams.graph import Graph
from streams.verify.run import Asked, verify_tables
from tests.support import people
from tests.support.bronze import Feeder
from tests.support.tables import rows_of

RULES = """
silver.visits:
  - {type: expect_column_values_to_be_between, column: person, max_value: 99, severity: critical, quarantine: false}
  - {type: expect_column_values_to_be_unique, column: at, severity: warn}
"""
Command = Callable[..., Result]


def visit(number: int, person: int | None, hour: int = 1) -> dict[str, Any]:
    return {"visit": number, "person": person, "at": f"2026-01-01 {hour:02}:00:00"}


class Town:
    """The people's pipeline with rules, over a lake of its own; `restart` is a new service on it."""

    def __init__(self, folder: Path, settings: Settings, spark: SparkSession, rules: str) -> None:
        self.folder = people.write(folder / "pipeline")
        (self.folder / "dq.yml").write_text(rules)
        self.settings = settings.model_copy(update={"lake": str(folder / "lake"), "pipeline": self.folder})
        self.spark = spark
        self.feeder: Feeder | None = None
        self.restart()

    def restart(self) -> None:
        self.graph = Graph.build(load(self.folder), self.settings)
        self.graph.prepare(self.spark)
        before = self.feeder
        self.feeder = Feeder(self.spark, self.graph)
        if before is not None:
            self.feeder.next_batch, self.feeder.next_offset = before.next_batch, before.next_offset

    def visits(self, *records: dict[str, Any]) -> None:
        assert self.feeder is not None
        self.feeder.feed_and_drive("bronze.visits", *records)

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        return rows_of(self.graph.tables[table].path, *columns)

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        return {
            "silver.visits": self.rows("silver.visits", "visit", "person"),
            "gold.fact_visits": self.rows("gold.fact_visits", "visit", "id"),
            "gold.visits_per_person": self.rows("gold.visits_per_person", "person", "visits"),
        }

    def assert_equal_to_a_rebuild(self) -> None:
        tables = ["silver.visits", "gold.fact_visits", "gold.visits_per_person"]
        found = list(verify_tables(self.graph, self.settings, self.spark, tables, Asked()))
        assert [(one.table, one.problem, one.found) for one in found] == [(name, None, {}) for name in tables]


@pytest.fixture
def town(tmp_path: Path, settings: Settings, spark: SparkSession) -> Town:
    return Town(tmp_path / "town", settings, spark, RULES)


@pytest.fixture
def command(town: Town, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `sluice gate` in this process, with the session of the tests."""

    class Shared:
        def __getattr__(self, name: str) -> Any:
            return (lambda: None) if name == "stop" else getattr(spark, name)

    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    monkeypatch.setattr("streams.session.build", lambda _: Shared())

    def run(*arguments: str, answer: str | None = None) -> Result:
        given = ["--set", f"lake={town.settings.lake}", "--set", f"pipeline={town.folder}"]
        return CliRunner().invoke(app, ["gate", *arguments, *given], input=answer)

    return run


def test_held_restarted_and_released_is_as_if_it_had_never_been_held(
    town: Town, command: Command, tmp_path: Path, settings: Settings, spark: SparkSession
) -> None:
    town.visits(visit(1, 7), visit(2, 8, hour=2))
    held = town.everything()
    town.visits(visit(2, 100, hour=2), visit(3, 7, hour=3))
    assert town.everything()["silver.visits"] == [(1, 7), (2, 100), (3, 7)]
    assert town.everything() | {"silver.visits": held["silver.visits"]} == held

    shown = command("show", "silver.visits")
    assert shown.exit_code == 1
    assert "silver.visits: HELD since " in shown.output
    assert '"max_value": 99}: 1 of 2 rows (visit=2)' in shown.output

    town.restart()
    town.visits(visit(4, 9, hour=4))
    assert town.everything()["gold.fact_visits"] == held["gold.fact_visits"]

    dry = command("release", "silver.visits", "--why", "a test", "--dry-run")
    assert (dry.exit_code, "Gold will take silver.visits" in dry.output) == (0, True)
    refused = command("release", "silver.visits", "--why", "a test", answer="n\n")
    assert (refused.exit_code, "Nothing was done." in refused.output) == (1, True)
    assert town.everything()["gold.fact_visits"] == held["gold.fact_visits"]
    done = command("release", "silver.visits", "--why", "the hundredth person", "--who", "ada", "--yes")
    assert done.exit_code == 0, done.output
    assert "silver.visits: 1 row released" in done.output

    never_held = Town(tmp_path / "other", settings, spark, "{}")
    never_held.visits(visit(1, 7), visit(2, 8, hour=2))
    never_held.visits(visit(2, 100, hour=2), visit(3, 7, hour=3))
    never_held.visits(visit(4, 9, hour=4))
    assert town.everything() == never_held.everything()
    town.restart()
    town.visits(visit(5, 9, hour=5))
    assert town.everything()["gold.visits_per_person"] == [(100, 1), (7, 2), (9, 2)]
    town.assert_equal_to_a_rebuild()

    [account] = json.loads(command("show", "--json").output)
    assert not account["held"]
    [decision] = account["decisions"]
    assert (decision["decision"], decision["who"], decision["why"]) == ("release", "ada", "the hundredth person")
    assert decision["rules"] == ["expect_column_values_to_be_between(person)"]


def test_what_is_discarded_is_as_if_it_had_been_quarantined(town: Town, command: Command) -> None:
    town.visits(visit(1, 7), visit(2, 8, hour=2))
    town.visits(visit(2, 9, hour=3))
    town.visits(visit(1, 100), visit(3, 101, hour=4), visit(4, 7, hour=5))
    town.visits(visit(1, 102))
    done = command("discard", "silver.visits", "--why", "no such people", "--yes")
    assert done.exit_code == 0, done.output
    assert town.everything() == {
        "silver.visits": [(1, 7), (2, 9), (4, 7)],
        "gold.fact_visits": [(1, 7), (2, 9), (4, 7)],
        "gold.visits_per_person": [(7, 2), (9, 1)],
    }
    taken_back = list(LaneReader(town.graph.lake, "silver.visits").records(with_bytes=False))
    assert sorted(offset for batch in taken_back for offset in batch["offset"].to_pylist()) == [3, 4, 6]
    assert command("show").exit_code == 0
    town.restart()
    town.assert_equal_to_a_rebuild()
    town.visits(visit(1, 8))
    assert town.everything()["gold.fact_visits"] == [(1, 8), (2, 9), (4, 7)]


def test_a_correction_opens_the_gate_by_itself_and_a_warning_never_closes_it(town: Town, command: Command) -> None:
    town.visits(visit(1, 7), visit(2, 8))
    warned = command("show")
    assert warned.exit_code == 0
    assert 'warn      expect_column_values_to_be_unique {"column": "at"}: 2 of 2 rows' in warned.output
    town.visits(visit(1, 100))
    assert command("show").exit_code == 1
    town.visits(visit(1, 9))
    assert command("show").exit_code == 0
    assert town.rows("gold.fact_visits", "visit", "id") == [(1, 9), (2, 8)]


def test_what_can_not_be_decided_is_said(town: Town, command: Command) -> None:
    town.visits(visit(1, 7))
    unknown = command("release", "silver.people", "--why", "x", "--yes")
    assert (unknown.exit_code, unknown.output.strip()) == (
        2,
        "`silver.people` has no gate: nothing is judged there. Known: `silver.visits`.",
    )
    open_ = command("discard", "silver.visits", "--why", "x", "--yes")
    assert open_.exit_code == 1
    assert "The gate of silver.visits holds nothing back: gold may read all up to version 1." in open_.output
    assert command("release", "silver.visits").exit_code == 2


@pytest.mark.parametrize("decision", ["release", "discard"])
def test_a_decision_that_is_rewound_has_to_be_made_again(decision: str, town: Town, command: Command) -> None:
    town.visits(visit(1, 7), visit(2, 8, hour=2))
    town.visits(visit(1, 100), visit(4, 7, hour=5))
    held = town.everything()
    time.sleep(0.01)
    before = datetime.now(UTC).isoformat()
    assert command(decision, "silver.visits", "--why", "by mistake", "--yes").exit_code == 0
    decided = town.everything()
    assert decided != held

    ada = Author(who="ada", host="here", command="sluice test")

    def rewind(to: str) -> str:
        done = carry_out(town.graph, None, town.settings, Rewind(tables=("silver.visits",), to=to), ada)
        town.restart()
        assert town.feeder is not None
        town.feeder.drive()
        return str(done["undo"])

    undo = rewind(before)
    assert town.everything() == held
    rewind(undo)
    assert town.everything() == decided
    rewind(before)
    town.visits(visit(5, 9, hour=6))
    with_new = {**held, "silver.visits": sorted([*held["silver.visits"], (5, 9)])}
    assert town.everything() == with_new
    shown = command("show")
    assert (shown.exit_code, "visit=1" in shown.output) == (1, True)
    assert command("discard", "silver.visits", "--why", "no such person", "--yes").exit_code == 0
    assert town.everything()["gold.fact_visits"] == [(1, 7), (2, 8), (4, 7), (5, 9)]
    town.restart()
    town.assert_equal_to_a_rebuild()
