"""Rejected records on their way back: under today's contract, in their own place, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from checkpoints import ledger
from checkpoints.requests import Redrive
from schemas.loader import load
from schemas.settings import Settings
from sinks.lanes.reader import LaneReader
from streams.cli import app
from streams.errors import NoLane
from streams.graph import Graph
from streams.redrive import Redriven, redrive
from tests.support import people
from tests.support.bronze import Feeder, change
from tests.support.people import person
from tests.support.tables import lane_records, rows_of

LONG = "x" * 21


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return people.write(tmp_path / "pipeline", without_gold=True)


@pytest.fixture
def graph(folder: Path, settings: Settings, spark: SparkSession) -> Graph:
    return built(folder, settings, spark)


@pytest.fixture
def feeder(graph: Graph, spark: SparkSession) -> Feeder:
    return Feeder(spark, graph)


def built(folder: Path, settings: Settings, spark: SparkSession) -> Graph:
    graph = Graph.build(load(folder), settings)
    graph.prepare(spark)
    return graph


def with_contract(folder: Path, settings: Settings, spark: SparkSession, **properties: Any) -> Graph:
    """The pipeline as it is after the contract of people has changed and the service has been started again."""
    changed = {**people.CONTRACT, "x-version": "4", "properties": {**people.CONTRACT["properties"], **properties}}
    (folder / "contracts" / "people.schema.json").write_text(json.dumps(changed))
    return built(folder, settings, spark)


def drive(graph: Graph, spark: SparkSession) -> None:
    for step in graph.below.values():
        step.run(spark, None)


def cohort(**counts: Any) -> Redriven:
    return Redriven("bronze.people", counts.pop("dry_run", False), **counts)


@pytest.mark.parametrize("small_batch_rows", [0, 100_000])
def test_what_passes_today_is_appended_in_its_own_place(
    small_batch_rows: int, feeder: Feeder, folder: Path, settings: Settings, spark: SparkSession
) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(1, LONG), 10), b"{", change("c", person(2, "Bo"), 12))
    graph = with_contract(
        folder,
        settings.model_copy(update={"small_batch_rows": small_batch_rows}),
        spark,
        name={"type": ["string", "null"]},
    )

    done = redrive(graph, spark, Redrive(table="bronze.people"))
    drive(graph, spark)

    assert (done.accepted, done.failing, done.already) == (1, {"json.syntax": 1}, 0)
    bronze = rows_of(graph.tables["bronze.people"].path, "_offset", "_contract_version", "_kafka_ts", "_key")
    assert bronze == [(0, "4", None, b"k"), (2, "3", None, b"k")]
    assert rows_of(graph.tables["silver.people"].path, "id", "name") == [(1, LONG.upper()), (2, "BO")]
    [(version, entry), *_] = ledger.entries(graph.tables["bronze.people"].handle())
    assert (version, entry.step, entry.accepted, entry.source) == (done.version, "redrive", 1, "lane")


def test_it_is_harmless_to_repeat(feeder: Feeder, folder: Path, settings: Settings, spark: SparkSession) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(1, LONG), 10), b"{")
    graph = with_contract(folder, settings, spark, name={"type": ["string", "null"]})
    first = redrive(graph, spark, Redrive(table="bronze.people"))
    held = (graph.tables["bronze.people"].version(), rows_of(graph.tables["bronze.people"].path))

    again = redrive(graph, spark, Redrive(table="bronze.people"))

    assert first == cohort(accepted=1, failing={"json.syntax": 1}, version=held[0])
    assert again == cohort(already=1, failing={"json.syntax": 1})
    assert (graph.tables["bronze.people"].version(), rows_of(graph.tables["bronze.people"].path)) == held


def test_an_old_record_never_goes_over_newer_state(
    feeder: Feeder, folder: Path, settings: Settings, spark: SparkSession
) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(1, LONG), 10), change("c", person(2, LONG), 11))
    feeder.feed_and_drive("bronze.people", change("u", person(1, "Ada"), 20), change("d", None, 21, before={"id": 3}))
    graph = with_contract(folder, settings, spark, name={"type": ["string", "null"]})

    redrive(graph, spark, Redrive(table="bronze.people"))
    drive(graph, spark)

    assert rows_of(graph.tables["silver.people"].path, "id", "name") == [(1, "ADA"), (2, LONG.upper())]
    history = rows_of(graph.tables["silver.people_history"].path, "id", "name", "_deleted")
    assert history == [(1, "ADA", False), (1, LONG.upper(), False), (2, LONG.upper(), False), (3, None, True)]


def test_what_still_fails_stays_with_its_new_reasons(
    feeder: Feeder, folder: Path, settings: Settings, spark: SparkSession
) -> None:
    feeder.feed("bronze.people", change("c", person(1, LONG), 10))
    before = lane_records(str(Path(settings.lake, "_errors/bronze/people")))
    graph = with_contract(folder, settings, spark, name={"type": ["string", "null"], "pattern": "^[a-w]*$"})

    done = redrive(graph, spark, Redrive(table="bronze.people", rule="schema.maxLength"))

    assert done == cohort(failing={"schema.pattern": 1})
    assert lane_records(graph.lake.errors("bronze.people")) == before
    [found] = LaneReader(graph.lake, "bronze.people").cohorts()
    assert (found.rule, found.contract_version, found.open, found.redriven) == ("schema.pattern", "4", 1, 0)
    assert redrive(graph, spark, Redrive(table="bronze.people", rule="schema.maxLength")) == cohort()


def test_commands_that_only_look_write_nothing_at_all(
    graph: Graph,
    feeder: Feeder,
    folder: Path,
    settings: Settings,
    spark: SparkSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feeder.feed_and_drive("bronze.people", change("c", person(1, LONG), 10), b"{", change("c", person(2, "Bo"), 12))
    looser = {"name": {"type": ["string", "null"]}, "new": {"type": ["integer", "null"]}}
    contract = {**people.CONTRACT, "properties": {**people.CONTRACT["properties"], **looser}}
    (folder / "contracts" / "people.schema.json").write_text(json.dumps(contract))  # a service would add a column
    lake = Path(settings.lake)

    class Shared:
        def __getattr__(self, name: str) -> Any:
            return (lambda: None) if name == "stop" else getattr(spark, name)

    monkeypatch.setattr("streams.logs.configure", lambda *_: None)
    monkeypatch.setattr("streams.session.build", lambda _: Shared())
    before = {path: path.stat().st_mtime_ns for path in lake.rglob("*")}
    for arguments, code, said in (
        ("errors redrive --table bronze.people --dry-run", 1, "1 would pass, 1 still fail"),
        ("errors redrive --table silver.people --dry-run", 0, "0 open records"),
        ("replay --dry-run", 0, "silver.people takes up again bronze.people@1-1"),
        ("rewind --tables silver.people --to 2020-01-01 --plan", 0, "silver.people: version 1 -> 0"),
        ("vacuum --hours 0 --dry-run", 0, "Remove what no version since"),
    ):
        given = ["--set", f"lake={lake}", "--set", f"pipeline={folder}"]
        done = CliRunner().invoke(app, [*arguments.split(), *given])
        assert (done.exit_code, said in " ".join(done.output.split())) == (code, True), (arguments, done.output)
        assert {path: path.stat().st_mtime_ns for path in lake.rglob("*")} == before, arguments


def test_a_dry_run_says_the_same_and_writes_nothing(
    feeder: Feeder, folder: Path, settings: Settings, spark: SparkSession
) -> None:
    feeder.feed("bronze.people", change("c", person(1, LONG), 10), b"{")
    graph = with_contract(folder, settings, spark, name={"type": ["string", "null"]})
    files = sorted(str(path) for path in Path(settings.lake).rglob("*"))

    done = redrive(graph, spark, Redrive(table="bronze.people", dry_run=True))

    assert done == cohort(dry_run=True, accepted=1, failing={"json.syntax": 1})
    assert sorted(str(path) for path in Path(settings.lake).rglob("*")) == files


def test_only_the_cohort_that_is_asked_for_is_judged_again(
    feeder: Feeder, folder: Path, settings: Settings, spark: SparkSession
) -> None:
    feeder.feed("bronze.people", change("c", person(1, LONG), 10), change("c", {"id": 2, "home": 1}, 11))
    graph = with_contract(folder, settings, spark, name={"type": ["string", "null"]})

    assert redrive(graph, spark, Redrive(table="bronze.people", rule="schema.type")) == cohort(
        failing={"schema.type": 1}
    )
    assert redrive(graph, spark, Redrive(table="bronze.people", rule="schema.maxLength")).accepted == 1


def test_killed_between_the_verdicts_and_the_append_it_comes_to_the_same_end(
    feeder: Feeder, folder: Path, settings: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeder.feed("bronze.people", change("c", person(1, LONG), 10), b"{")
    graph = with_contract(folder, settings, spark, name={"type": ["string", "null"]})

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("sinks.engine.append", killed)
        with pytest.raises(KeyboardInterrupt):
            redrive(graph, spark, Redrive(table="bronze.people"))
    done = redrive(graph, spark, Redrive(table="bronze.people"))

    assert (done.accepted, done.failing) == (1, {"json.syntax": 1})
    assert rows_of(graph.tables["bronze.people"].path, "_offset") == [(0,)]


def test_a_table_without_a_lane_is_named(graph: Graph, spark: SparkSession) -> None:
    with pytest.raises(NoLane, match=r"`bronze\.peple` has no error lane\. Did you mean `bronze\.people`\?"):
        redrive(graph, spark, Redrive(table="bronze.peple"))


RULES = """
silver.people:
  - type: expect_column_values_to_be_in_set
    column: city
    value_set: [Oslo, Rome]
    severity: critical
"""


def test_a_row_that_breaks_a_critical_rule_goes_to_silvers_lane_and_comes_back(
    folder: Path, settings: Settings, spark: SparkSession
) -> None:
    (folder / "dq.yml").write_text(RULES)
    graph = built(folder, settings, spark)
    feeder = Feeder(spark, graph)
    feeder.feed_and_drive(
        "bronze.people",
        change("c", person(1, "Ada", "Oslo"), 10),
        change("c", person(2, "Bo", "Paris"), 11),
        change("c", person(3, "Cy"), 12),
    )
    feeder.feed_and_drive(
        "bronze.people", change("u", person(1, "Ada", "Paris"), 13), change("d", None, 14, before={"id": 3})
    )

    silver = graph.tables["silver.people"].path
    assert rows_of(silver, "id", "city") == [(1, "Oslo")]
    lane = lane_records(graph.lake.errors("silver.people"))
    assert [(record["offset"], record["violations"][0]["rule"]) for record in lane] == [
        (1, "rule.expect_column_values_to_be_in_set"),
        (3, "rule.expect_column_values_to_be_in_set"),
    ]
    assert lane_records(graph.lake.errors("silver.people_history")) == []

    (folder / "dq.yml").write_text(RULES.replace("Rome", "Paris"))
    graph = built(folder, settings, spark)
    feeder = Feeder(spark, graph, feeder.next_offset, feeder.next_batch)
    feeder.feed_and_drive("bronze.people", change("u", person(1, "Ada", "Oslo"), 20))
    assert redrive(graph, spark, Redrive(table="silver.people", dry_run=True)).accepted == 2
    done = redrive(graph, spark, Redrive(table="silver.people"))

    assert (done.accepted, done.failing, done.already) == (2, {}, 0)
    assert rows_of(silver, "id", "city") == [(1, "Oslo"), (2, "Paris")]
    assert redrive(graph, spark, Redrive(table="silver.people")) == Redriven("silver.people", False, already=2)
