"""History brought in: once, under the contract, and never over newer state."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from checkpoints.requests import Backfill
from schemas.loader import load
from schemas.settings import Settings
from streams.audit.table import audit
from streams.commands.asking import handing_down
from streams.errors import TooManyRejects
from streams.graph import Graph
from streams.intake.backfill import number_of, run_backfill
from streams.intake.errors import (
    BackfillLost,
    BackfillUndone,
    FilesChanged,
    NoBackfill,
    NoFiles,
    UnknownFile,
)
from streams.intake.files import FileSource
from streams.intake.make import source_of
from tests.support import people
from tests.support.backfills import bring, files, visit, write_lines
from tests.support.bronze import Feeder, change
from tests.support.people import person
from tests.support.tables import lane_records, rows_of


def state(graph: Graph) -> dict[str, list[tuple[Any, ...]]]:
    return {name: rows_of(graph.lake.table(name)) for name in graph.below}


def test_files_come_in_by_batches_through_the_contract(
    graph: Graph, settings: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    write_lines(tmp_path / "old/a.jsonl", [visit(n, 1) for n in range(25)])
    write_lines(tmp_path / "old/b.jsonl", ["", *(visit(n, 2) for n in range(25, 40)), '{"visit": "x"}', "{broken"])
    pq.write_table(
        pa.table({"visit": [90, 91], "person": [3, 3], "at": ["2026-01-01 00:00:00"] * 2}), tmp_path / "old/c.parquet"
    )
    request = files("bronze.visits", str(tmp_path / "old"), batch_rows=10)

    done = bring(graph, spark, request, settings)

    assert (done["batches"], done["read"], done["accepted"], done["rejected"]) == (6, 44, 42, 2)
    assert dict(rows_of(graph.lake.table("gold.visits_per_person"))) == {1: 25, 2: 15, 3: 2}
    assert len(lane_records(graph.lake.errors("bronze.visits"))) == 2
    assert audit(graph.lake, "bronze.visits").differences == ()
    # Again: nothing. Under another name: the same records, which change nothing below.
    before = state(graph)
    assert bring(graph, spark, request, settings)["read"] == 0
    assert bring(graph, spark, request.model_copy(update={"again": "2"}), settings)["read"] == 44
    assert state(graph) == before


@pytest.mark.parametrize("order", ["before", "between", "after"])
def test_an_old_record_of_a_plain_feed_never_goes_over_a_live_one(
    order: str, graph: Graph, feeder: Feeder, settings: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "old.jsonl", [visit(1, 10), visit(2, 10), visit(1, 11), visit(3, 12)])
    steps = [
        lambda: feeder.feed_and_drive("bronze.visits", visit(1, 50)),
        lambda: feeder.feed_and_drive("bronze.visits", visit(1, 51), {**visit(3, 1), "person": None}),
    ]
    steps.insert(
        {"before": 0, "between": 1, "after": 2}[order],
        lambda: bring(graph, spark, files("bronze.visits", path), settings),
    )
    for step in steps:
        step()

    # 1 is the newest live one, 2 is known of history alone, 3 was deleted after it.
    assert rows_of(graph.lake.table("silver.visits"), "visit", "person") == [(1, 51), (2, 10)]
    assert dict(rows_of(graph.lake.table("gold.visits_per_person"))) == {10: 1, 51: 1}


def test_old_events_take_their_place_in_the_order_of_their_source(
    graph: Graph, feeder: Feeder, settings: Settings, spark: SparkSession, tmp_path: Path, people_folder: Path
) -> None:
    day = 86_400_000
    events = [change(op, row, lsn, lsn * day, {"id": 1}) for op, row, lsn in (
        ("c", person(1, "ada", "Ulm"), 1), ("u", person(1, "eve", "Jena"), 3), ("c", person(2, "bob"), 4),
        ("d", None, 6), ("c", person(1, "fay", "Kiel"), 8),
    )]  # fmt: skip
    feeder.feed_and_drive("bronze.people", events[1], events[4])
    path = write_lines(tmp_path / "events.jsonl", [events[0], events[2], events[3], events[1]])
    bring(graph, spark, files("bronze.people", path), settings)

    alone = Graph.build(load(people_folder), settings.model_copy(update={"lake": str(tmp_path / "alone")}))
    alone.prepare(spark)
    Feeder(spark, alone).feed_and_drive("bronze.people", *events)
    assert state(graph) == state(alone)


def test_old_events_stay_old_where_the_topic_was_made_anew_since(
    graph: Graph, feeder: Feeder, settings: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    def event(op: str, key: int, row: Any, lsn: int) -> Any:
        return change(op, row, lsn, lsn * 86_400_000, {"id": key})

    feeder.feed_and_drive("bronze.people", event("c", 1, person(1, "ada"), 5), event("d", 2, None, 6))
    step = graph.bronze["bronze.people"]
    step.begin(step.start.model_copy(update={"epoch": 1}))
    feeder.feed_and_drive("bronze.people", event("c", 3, person(3, "cyd"), 2))
    old = [event("c", 1, person(1, "old"), 4), event("c", 2, person(2, "old"), 3), event("u", 3, person(3, "old"), 1)]
    old.append(event("c", 4, person(4, "dan"), 1))
    bring(graph, spark, files("bronze.people", write_lines(tmp_path / "old.jsonl", old)), settings)

    assert rows_of(graph.lake.table("silver.people"), "id", "name") == [(1, "ADA"), (3, "CYD"), (4, "DAN")]


def test_what_is_cut_short_goes_on_where_it_was(
    graph: Graph, settings: Settings, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from checkpoints import failpoints
    from streams.intake import backfill

    path = write_lines(tmp_path / "old.jsonl", [visit(n, n % 5) for n in range(50)])
    request = files("bronze.visits", path, batch_rows=10)
    for place in ("backfill.before_batch", "bronze.before_append", "bronze.after_append"):
        reach = failpoints.from_environment({failpoints.VARIABLE: f"{place}=raise@2"})
        monkeypatch.setattr(backfill, "reach", reach)
        monkeypatch.setattr("streams.bronze.reach", reach)
        with pytest.raises(failpoints.Failpoint):
            bring(graph, spark, request, settings)
    monkeypatch.undo()
    bring(graph, spark, request.model_copy(update={"batch_rows": 7, "rate": 1e6}), settings)

    assert rows_of(graph.lake.table("bronze.visits"), "_offset") == sorted(((n,) for n in range(50)), key=repr)
    assert len(rows_of(graph.lake.table("silver.visits"))) == 50
    assert audit(graph.lake, "bronze.visits").differences == ()


def test_mistakes_are_told_in_a_sentence(graph: Graph, settings: Settings, spark: SparkSession, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "old.jsonl", [visit(n, 1) for n in range(30)])
    with pytest.raises(NoFiles, match="there is no such file"):
        source_of(graph, spark, settings, files("bronze.visits", str(tmp_path / "nothing*")))
    (tmp_path / "x.csv").write_text("a,b")
    with pytest.raises(UnknownFile, match="neither JSON lines"):
        source_of(graph, spark, settings, files("bronze.visits", str(tmp_path / "x.csv")))
    with pytest.raises(NoBackfill, match="read whole"):
        source_of(graph, spark, settings, files("bronze.visits", path, since="2026-01-01"))
    with pytest.raises(NoBackfill, match="no `jdbc`"):
        source_of(graph, spark, settings, Backfill(table="bronze.visits", source="jdbc"))
    request = files("bronze.visits", path, batch_rows=10)
    source = source_of(graph, spark, settings, request)
    assert isinstance(source, FileSource)
    first = source.next(None)
    write_lines(tmp_path / "old.jsonl", [visit(1, 1)])
    with pytest.raises(FilesChanged, match="have changed since the backfill began"):
        source_of(graph, spark, settings, request).next(first)


def test_what_was_taken_back_is_not_said_to_be_there(
    graph: Graph, settings: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "old.jsonl", [visit(n, 1) for n in range(30)])
    request = files("bronze.visits", path, batch_rows=10)
    table = graph.tables["bronze.visits"]
    before = table.version()
    bring(graph, spark, request, settings)
    there = state(graph)
    DeltaTable(table.path).restore(before)

    with pytest.raises(BackfillUndone, match="all 3 batches"):
        bring(graph, spark, request, settings)
    assert bring(graph, spark, request.model_copy(update={"again": "2"}), settings)["accepted"] == 30
    assert len(rows_of(table.path, "_offset")) == 30
    assert state(graph) == there


@pytest.mark.parametrize("lost", ["", "offsets"])
def test_one_whose_checkpoint_is_lost_finds_its_batches_or_says_that_they_are_others(
    lost: str, graph: Graph, settings: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "old.jsonl", [visit(n, 1) for n in range(30)])
    request = files("bronze.visits", path, batch_rows=10)
    checkpoint = graph.lake.checkpoint("bronze.visits", number_of(request))
    bring(graph, spark, request, settings)
    there, bronze = state(graph), rows_of(graph.lake.table("bronze.visits"))

    shutil.rmtree(Path(checkpoint, lost))
    assert bring(graph, spark, request, settings)["read"] == 0
    assert (state(graph), rows_of(graph.lake.table("bronze.visits"))) == (there, bronze)
    shutil.rmtree(Path(checkpoint, lost))
    with pytest.raises(BackfillLost, match=r"holds 3 batches of this backfill, but .* `--again NAME`"):
        bring(graph, spark, request.model_copy(update={"batch_rows": 20}), settings)
    assert bring(graph, spark, request.model_copy(update={"again": "2"}), settings)["accepted"] == 30
    assert state(graph) == there


def test_batches_that_break_the_contract_are_held_until_they_are_admitted(
    graph: Graph, settings: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "old.jsonl", [*(visit(n, 1) for n in range(100)), *["{broken"] * 150])
    request = files("bronze.visits", path, batch_rows=100)
    with pytest.raises(TooManyRejects, match="to the error lane with the same command and `--admit`"):
        bring(graph, spark, request, settings)
    assert len(rows_of(graph.lake.table("bronze.visits"), "_offset")) == 100

    done = bring(graph, spark, request.model_copy(update={"admit": True}), settings)
    assert (done["batches"], done["accepted"], done["rejected"]) == (3, 0, 150)
    assert audit(graph.lake, "bronze.visits").differences == ()


def test_a_backfill_judges_by_the_contract_that_the_query_has_meanwhile_taken_up(
    graph: Graph, settings: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "old.jsonl", [{**visit(n, 1), "by": "bus"} for n in range(20)])
    request, live = files("bronze.visits", path, batch_rows=10), graph.bronze["bronze.visits"]
    schema = copy.deepcopy(people.VISITS_CONTRACT)
    schema["properties"]["by"] = {"type": "string"}
    folder = people.write(tmp_path / "newer")
    (folder / "contracts/visits.schema.json").write_text(json.dumps(schema))
    newer = load(folder).contract_of(live.spec)

    def take_up(*_: object) -> None:
        live.learner.adopt(newer, live.table)

    run_backfill(live, spark, request, source_of(graph, spark, settings, request), take_up)

    rows = rows_of(live.table.path, "_offset", "by")
    assert rows == sorted([(n, None if n < 10 else "bus") for n in range(20)], key=repr)
    assert state(graph)["silver.visits"] == []  # nothing was handed on here
    assert drive_and_count(graph, spark) == 20


def drive_and_count(graph: Graph, spark: SparkSession) -> int:
    handing_down(graph, spark)("bronze.visits", None)
    return len(rows_of(graph.lake.table("silver.visits")))
