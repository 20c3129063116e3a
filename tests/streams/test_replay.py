"""Taking up again what was consumed, and going back: the same tables, or those that a new spec makes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from checkpoints import failpoints, generations
from checkpoints.generations import Start
from checkpoints.journal import Journal
from checkpoints.ledger import LedgerEntry
from checkpoints.requests import Author, Replay, Request, Requests, Rewind, Vacuum
from schemas.loader import load
from schemas.settings import Settings
from sinks.commit import Commit
from streams.acts import rewind as rewinding
from streams.acts.carry_out import carry_out, plan_of
from streams.acts.errors import FilesGone, HalfDone, NotAnOffset, WouldBreak
from streams.acts.resume import resume
from streams.acts.vacuum import carry_out_vacuum, plan_vacuum
from streams.graph import Graph
from streams.operations import Operations, Turn
from tests.support import people
from tests.support.bronze import Feeder, change
from tests.support.people import person
from tests.support.tables import rows_of

ADA = Author(who="ada", host="here", command="sluice test")
DAY = 86_400_000


def feed(feeder: Feeder, rounds: int, first: int = 0) -> None:
    for number in range(first, first + rounds):
        lsn = 3 * number
        feeder.feed_and_drive(
            "bronze.people",
            change("u", person(number % 3, f"n{number}", "Ulm"), lsn + 1, (lsn + 1) * DAY),
            change("c", person(100 + number, "x"), lsn + 2, (lsn + 2) * DAY),
            change("d", None, lsn + 3, (lsn + 3) * DAY, {"id": 99 + number}),
        )
        feeder.feed_and_drive(
            "bronze.visits", {"visit": number, "person": number % 3, "at": f"1970-01-{number + 5:02}"}
        )


def state(graph: Graph) -> dict[str, list[tuple[Any, ...]]]:
    return {name: rows_of(graph.lake.table(name)) for name in graph.below}


@pytest.mark.parametrize(
    "request_",
    [
        Replay(tables=()),
        Replay(tables=("silver.people", "gold.dim_person"), since="batch:1", until="batch:2"),
        Replay(tables=("gold.fact_visits",), since="visits[0]@1"),
        Replay(tables=("silver.people_history",), until="2026-01-02T00:00:01"),
    ],
    ids=["all", "batches", "offsets", "time"],
)
def test_a_replay_gives_the_same_tables_and_can_be_repeated(
    request_: Replay, graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings
) -> None:
    feed(feeder, 4)
    before, bronze = state(graph), DeltaTable(graph.lake.table("bronze.people")).version()
    for _ in range(2):
        assert carry_out(graph, spark, settings, request_, ADA)["done"]
        for step in graph.below.values():
            step.run(spark, None)
    assert state(graph) == before
    assert DeltaTable(graph.lake.table("bronze.people")).version() == bronze
    feed(feeder, 1, first=4)  # positions are where they were
    assert len(rows_of(graph.lake.table("gold.fact_visits"))) == 5


def test_a_replay_makes_what_a_new_spec_says(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    feed(feeder, 3)
    folder = people.write(tmp_path / "other")
    spec = folder / "tables/silver.people.yml"
    spec.write_text(spec.read_text().replace("upper(after.name)", "\"concat('Dr ', after.name)\""))
    changed = Graph.build(load(folder), settings)
    changed.prepare(spark)
    names = {row[1] for row in rows_of(graph.lake.table("silver.people"), "id", "name")}
    carry_out(changed, spark, settings, Replay(tables=("silver.people",)), ADA)
    after = {row[1] for row in rows_of(graph.lake.table("silver.people"), "id", "name")}
    assert after == {f"Dr {name.lower()}" for name in names}


def cut_at(graph: Graph) -> str:
    """The time of now, between two commits."""
    return datetime.now(UTC).isoformat()


SILVER = ("silver.people", "silver.people_history", "silver.visits")


def rewind(graph: Graph, spark: SparkSession, settings: Settings, to: str) -> dict[str, Any]:
    return carry_out(graph, spark, settings, Rewind(tables=SILVER, to=to), ADA)


def drive(graph: Graph, spark: SparkSession) -> None:
    for step in graph.below.values():
        step.run(spark, None)


def test_tables_go_back_together_and_forward_again(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings, people_folder: Path
) -> None:
    feed(feeder, 2)
    then, at = state(graph), cut_at(graph)
    feed(feeder, 2, first=2)
    now = state(graph)

    plan = plan_of(graph, settings, Rewind(tables=SILVER, to=at))
    assert any("silver.people: version" in line for line in plan.lines)
    assert state(graph) == now
    done = rewind(graph, spark, settings, at)
    assert state(graph) == then

    # The rewind is rewound, and then what bronze has is consumed again.
    again = Graph.build(load(people_folder), settings)
    rewind(again, spark, settings, done["undo"])
    assert state(again) == now
    rewind(again, spark, settings, at)
    drive(again, spark)
    assert state(again) == now
    feed(Feeder(spark, again, feeder.next_offset, feeder.next_batch), 1, first=4)
    assert len(rows_of(again.lake.table("gold.fact_visits"))) == 5
    assert [act.state for act in Journal(again.lake).acts()] == ["done"] * 3
    assert rewind(again, spark, settings, datetime.now(UTC).isoformat()) == {
        "done": False,
        "plan": ["Every table is as it was then: nothing to do."],
    }


def test_a_rewind_that_is_cut_short_goes_on_at_the_next_start(
    graph: Graph,
    feeder: Feeder,
    spark: SparkSession,
    settings: Settings,
    people_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feed(feeder, 2)
    then, at = state(graph), cut_at(graph)
    feed(feeder, 2, first=2)
    now = state(graph)
    for number in range(1, 5):
        rule = f"rewind.between_tables=raise@{number}"
        monkeypatch.setattr(rewinding, "reach", failpoints.from_environment({failpoints.VARIABLE: rule}))
        with pytest.raises(HalfDone, match="`sluice journal` says when it is done"):
            rewind(Graph.build(load(people_folder), settings), spark, settings, at)
        monkeypatch.undo()
        assert [act.state for act in Journal(graph.lake).begun()] == ["begun"]
        again = Graph.build(load(people_folder), settings)
        assert resume(again)
        assert not resume(again)
        assert state(again) == then
        drive(Graph.build(load(people_folder), settings), spark)
        assert state(again) == now


def test_a_table_goes_back_to_nothing_that_those_above_have_lost(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings, people_folder: Path
) -> None:
    feed(feeder, 2)
    then, bronze = state(graph), DeltaTable(graph.lake.table("bronze.people"))
    kept = bronze.version()
    feed(feeder, 2, first=2)
    with_lost = cut_at(graph)
    bronze.update_incremental()
    bronze.restore(kept)  # by hand; bronze stays like this

    again = Graph.build(load(people_folder), settings)
    rewind(again, spark, settings, with_lost)
    assert state(again)["silver.people"] == then["silver.people"]
    assert state(again)["gold.dim_person"] == then["gold.dim_person"]
    drive(again, spark)
    assert state(again)["silver.people"] == then["silver.people"]


def test_what_came_after_a_rewind_goes_when_that_is_rewound(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings, people_folder: Path
) -> None:
    feed(feeder, 2)
    then, at = state(graph), cut_at(graph)
    for number in (8, 9):  # gold is behind
        feeder.feed("bronze.visits", {"visit": number, "person": 1, "at": "1970-01-09"})
        feeder.drive(only="silver.visits")
    ahead = state(graph)
    assert ahead["gold.fact_visits"] == then["gold.fact_visits"]

    visits = Rewind(tables=("silver.visits",), to=at)
    done = carry_out(graph, spark, settings, visits, ADA)
    again = Graph.build(load(people_folder), settings)
    assert again.tables["gold.fact_visits"].generation() == 0  # it stayed
    drive(again, spark)
    assert len(state(again)["gold.fact_visits"]) == 4
    carry_out(again, spark, settings, visits.model_copy(update={"to": done["undo"]}), ADA)
    assert state(again) == ahead
    drive(Graph.build(load(people_folder), settings), spark)
    assert len(state(again)["gold.fact_visits"]) == 4


def test_a_request_that_was_taken_back_is_not_carried_out_and_none_is_twice(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings, people_folder: Path
) -> None:
    feed(feeder, 2)
    at = cut_at(graph)
    feed(feeder, 1, first=2)
    before = state(graph)
    requests, action = Requests(graph.lake), Rewind(tables=SILVER, to=at)
    names = [requests.submit(action, ADA) for _ in range(2)]
    turns: list[Turn] = []
    operations = Operations(graph.lake, lambda: pytest.fail("no flow is needed"), spark, settings, turns.append)
    operations.serve()  # one after the other: the second waits until the first one is answered or gone
    [withdrawn] = turns

    requests.withdraw(withdrawn.request)
    withdrawn.carry_out(graph, spark, settings, [])
    assert (state(graph), Journal(graph.lake).acts(), requests.answered(withdrawn.request)) == (before, [], None)

    operations.serve()
    kept = turns[1]
    names.remove(withdrawn.request)
    assert [kept.request] == names
    kept.carry_out(graph, spark, settings, [])
    first = requests.answered(kept.request)
    versions = {name: table.version() for name, table in graph.tables.items()}
    # Its answer was lost, and with it that it has been carried out.
    graph.lake.write(
        f"{graph.lake.root}/_ops/requests/{kept.request}.json",
        Request(action=action, author=ADA).model_dump_json().encode(),
    )
    kept.carry_out(Graph.build(load(people_folder), settings), spark, settings, [])
    assert {name: table.version() for name, table in graph.tables.items()} == versions
    [act] = Journal(graph.lake).acts()
    assert first is not None
    assert (act.id, act.state, first.result["act"]) == (kept.request, "done", kept.request[:8])


def test_tombstones_go_back_with_their_table_whatever_the_clock_said(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings, people_folder: Path
) -> None:
    late = change("u", person(99, "late"), 2, DAY)
    feeder.feed_and_drive("bronze.people", change("c", person(99, "x"), 1, DAY), change("d", None, 3, DAY, {"id": 99}))
    feeder.feed_and_drive("bronze.people", change("c", person(1, "y"), 4, DAY))
    at = cut_at(graph)
    feeder.feed_and_drive("bronze.people", change("d", None, 5, DAY, {"id": 1}))
    # The clock was an hour ahead while the first deletion was kept.
    for file in Path(graph.lake.tombstones("silver.people"), "_delta_log").glob("*[12].json"):
        file.write_text(
            re.sub(r'"timestamp":(\d+)', lambda found: f'"timestamp":{int(found[1]) + 3_600_000}', file.read_text())
        )
    rewind(graph, spark, settings, at)
    again = Graph.build(load(people_folder), settings)
    feed_again = Feeder(spark, again, feeder.next_offset, feeder.next_batch)
    feed_again.feed_and_drive("bronze.people", late)
    assert rows_of(again.lake.table("silver.people"), "id", "name") == []
    late_too = change("u", person(1, "late"), 4, DAY)
    feed_again.feed_and_drive("bronze.people", late_too)
    assert rows_of(again.lake.table("silver.people"), "id", "name") == []


@pytest.fixture
def by_hand(graph: Graph) -> Callable[[str], None]:
    def remove(name: str) -> None:
        """What a VACUUM without care leaves: the files of old versions are gone."""
        DeltaTable(graph.lake.table(name)).vacuum(0, dry_run=False, enforce_retention_duration=False)

    return remove


def test_what_vacuum_took_can_not_be_gone_back_to(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings, by_hand: Callable[[str], None]
) -> None:
    feed(feeder, 1)
    at = cut_at(graph)
    feed(feeder, 2, first=1)
    now = state(graph)
    by_hand("silver.people")
    with pytest.raises(FilesGone, match=r"silver\.people can not go back to version"):
        rewind(graph, spark, settings, at)
    assert state(graph) == now


def test_a_vacuum_that_would_take_what_is_still_to_be_read_is_refused(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings
) -> None:
    feed(feeder, 2)
    silver = Path(graph.lake.table("silver.people"))
    files = sorted(silver.glob("*.parquet"))
    dead = silver / "part-00000-of-a-commit-that-never-came.parquet"
    dead.write_bytes(b"")
    plan = plan_vacuum(graph, Vacuum(tables=("silver.people",), hours=0))
    done = carry_out(graph, spark, settings, Vacuum(tables=("silver.people",), hours=0), ADA)
    assert done["removed"]["silver.people"] > 0
    assert len(sorted(silver.glob("*.parquet"))) < len(files)
    assert not dead.exists()

    outcome = feeder.feed("bronze.people", change("c", person(7, "g"), 900, DAY))
    with pytest.raises(WouldBreak, match=r"silver\.people has not read what was committed at"):
        plan_of(graph, settings, Vacuum(tables=("bronze.people",), hours=0))
    assert plan_of(graph, settings, Vacuum(tables=("bronze.people",), hours=1)).is_empty

    # Half an hour is kept as a whole one; and what comes after the plan is seen before anything goes.
    feeder.drive(outcome, only="silver.people_history")
    assert plan_of(graph, settings, Vacuum(tables=("silver.people_history",), hours=0.5)).is_empty
    late = replace(plan, files={"silver.people_history": 1})
    with pytest.raises(WouldBreak, match=r"gold\.dim_person has not read"):
        carry_out_vacuum(graph, late)


def test_a_replay_of_what_vacuum_took_compares_all(
    graph: Graph, feeder: Feeder, spark: SparkSession, settings: Settings
) -> None:
    feed(feeder, 3)
    before = state(graph)
    carry_out(graph, spark, settings, Vacuum(tables=(), hours=0), ADA)
    for name in ("silver.people", "silver.visits", "gold.dim_person"):
        assert not list(Path(graph.lake.table(name), "_change_data").glob("*.parquet"))
    plan_of(graph, settings, Vacuum(tables=(), hours=0))  # is not refused: its own commits need no file
    drive(graph, spark)

    for request in (Replay(tables=()), Replay(tables=("gold.fact_visits",), since="batch:1")):
        assert carry_out(graph, spark, settings, request, ADA)["done"]
        drive(graph, spark)
        assert state(graph) == before


@pytest.fixture
def with_generations(graph: Graph, feeder: Feeder, spark: SparkSession, people_folder: Path) -> Graph:
    """Bronze with batches 0 to 2 in versions 1 to 3, those of a backfill in 4 and 6, and batches 0 and 1 in 5 and 7."""
    table = graph.tables["bronze.people"]

    def one(lsn: int) -> dict[str, Any]:
        return change("c", person(lsn, "x"), lsn, lsn * DAY)

    def backfill(number: int) -> None:
        clock = datetime(2025, 1, 1, tzinfo=UTC)
        entry = LedgerEntry(
            table=table.name,
            step="append",
            run_id=str(number),
            clock=clock,
            generation=-7,
            engine="none",
            source="kafka",
            batch_id=number,
            accepted=1,
            offsets={"archive": {0: (number, number + 1)}},
        )
        table.commit_position(Commit({}, entry))

    for lsn in range(1, 4):
        feeder.feed_and_drive("bronze.people", one(lsn))
    backfill(0)
    start = Start(generation=1, kind="reset", at=datetime.now(UTC), topic="db.people", held={0: ((0, 3),)})
    generations.keep(graph.lake, "bronze.people", start)
    again = Graph.build(load(people_folder), Settings(lake=graph.lake.root))
    second = Feeder(spark, again, {"bronze.people": 3})
    second.feed_and_drive("bronze.people", one(4))
    backfill(1)
    second.feed_and_drive("bronze.people", one(5))
    again.below["silver.people"].run(spark, None)
    return again


def test_a_range_is_one_of_the_log_whatever_numbers_come_again(with_generations: Graph, settings: Settings) -> None:
    cases = [
        # from, to, the versions of bronze.people
        (None, None, "1-7"),
        ("batch:0", None, "5-7"),  # the newest of this number
        ("batch:2", None, "3-7"),
        ("batch:2", "batch:0", "3-5"),
        (None, "batch:2", "1-3"),
        (None, "batch:9", "1-7"),
        ("db.people[0]@1", "db.people[0]@3", "2-5"),
        ("db.people[0]@4", None, "7-7"),
        ("2026-01-01", None, "1-7"),  # the clocks of the backfill's are a year older
        ("2026-01-02T02:00:02+02:00", "2026-01-02T00:00:02", "3-3"),
    ]
    for since, until, versions in cases:
        plan = plan_of(with_generations, settings, Replay(tables=("silver.people",), since=since, until=until))
        assert f"bronze.people@{versions} " in plan.lines[1], (since, until, plan.lines)
    with pytest.raises(NotAnOffset, match=r"No batch of bronze\.people lies in it"):
        plan_of(with_generations, settings, Replay(tables=("silver.people",), since="batch:9"))
    # A place in one topic says nothing of what is made of another.
    request = Replay(tables=("gold.fact_visits",), until="visits[0]@9")
    with pytest.raises(NotAnOffset, match="No batch of"):
        plan_of(with_generations, settings, request)
