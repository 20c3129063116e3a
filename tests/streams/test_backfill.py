"""History brought in from files, topics and databases: once, under the contract, and never over newer state."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from pyspark.sql import SparkSession

from checkpoints.requests import Backfill
from deploy.embedded.stack import EmbeddedStack
from schemas.loader import load
from schemas.settings import Settings
from streams.audit.table import audit
from streams.graph import Graph
from streams.intake.backfill import run_backfill
from streams.intake.errors import FilesChanged, NoBackfill, NoFiles, UnknownFile
from streams.intake.files import FileSource
from streams.intake.make import source_of
from tests.support import pulled
from tests.support.bronze import Feeder, change
from tests.support.people import person
from tests.support.service import is_drained
from tests.support.tables import lane_records, rows_of
from tests.support.town import Town


def visit(number: int, who: int, day: int = 1) -> dict[str, Any]:
    return {"visit": number, "person": who, "at": f"2026-01-{day:02} 00:00:00"}


def write_lines(path: Path, records: list[Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))
    return str(path)


def files(table: str, path: str, **more: Any) -> Backfill:
    return Backfill(table=table, source="files", path=path, **more)


def bring(graph: Graph, spark: SparkSession, request: Backfill, settings: Settings) -> dict[str, Any]:
    return run_backfill(graph, spark, request, source_of(graph, spark, settings, request))


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
    bring(graph, spark, request, settings)

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


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        yield started


@pytest.mark.stack
def test_a_topics_past_is_brought_in_once_beside_what_is_there(
    stack: EmbeddedStack, service_jars: Path, tmp_path: Path
) -> None:
    town = Town(stack, tmp_path, service_jars, "past")
    town.live(80)
    town.sluice("checkpoints", "reset", "bronze.visits", "--to", "latest", "--dry-run")  # there is no table yet
    assert town.service.run_to_end("--once") == 0
    archive = f"archive.{town.name}"
    stack.create_topics({archive: 1})
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap})
    known = max(town.visits)
    for number in (*[known] * 300, 900, 901, 901):  # with offsets beyond those of the town's own topic
        producer.produce(archive, json.dumps(visit(number, 77)))
    assert producer.flush(30) == 0

    common = ("backfill", "--table", "bronze.visits", "--source", "kafka", "--yes")
    town.live(30)
    # What was read is accounted for, and what was not is the query's.
    assert "0 accepted" in town.sluice(*common)
    assert town.service.run_to_end("--once") == 0
    town.check()
    assert "303 records read, 303 accepted" in town.sluice(*common, "--topic", archive)
    rows = dict(rows_of(town.lake.table("silver.visits"), "visit", "person"))
    assert (rows[900], rows[901]) == (77, 77)
    assert rows[known] == town.visits[known][0]  # what is old does not go over it
    assert len(rows) == len(town.visits) + 2
    town.sluice("audit")


@pytest.mark.stack
def test_a_backfill_that_is_killed_goes_on_and_is_refused_beside_a_service(
    stack: EmbeddedStack, service_jars: Path, tmp_path: Path
) -> None:
    town = Town(stack, tmp_path, service_jars, "killed")
    path = write_lines(tmp_path / "old.jsonl", [visit(n, n % 7) for n in range(20_000)])
    command = ["backfill", "--table", "bronze.visits", "--source", "files", "--path", path, "--batch-rows", "2000"]
    assert "Nothing was done." in town.sluice(*command, code=1)
    process = subprocess.Popen(
        [sys.executable, "-m", "streams", *command, "--yes", "--rate", "4000"],
        env=town.service.environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    log = Path(town.lake.table("bronze.visits"), "_delta_log")
    deadline = time.monotonic() + 120
    while len(list(log.glob("*.json"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    held = len(rows_of(town.lake.table("bronze.visits"), "_offset"))
    assert 0 < held < 20_000

    assert "20,000" not in town.sluice(*command, "--yes")  # it goes on, and does not begin anew
    assert rows_of(town.lake.table("bronze.visits"), "_offset") == sorted(((n,) for n in range(20_000)), key=repr)
    town.sluice("audit")
    town.service.start()
    town.service.wait_for(is_drained, "it runs")
    assert "A service runs on this lake" in town.sluice(*command, "--yes", "--again", "x", code=1)
    assert town.service.terminate() == 0
    assert "backfill" in town.sluice("journal")


@pytest.mark.stack
def test_a_range_of_a_database_comes_in_and_leaves_the_watermark(
    stack: EmbeddedStack, settings: Settings, tmp_path: Path, spark: SparkSession
) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with psycopg.connect(stack.postgres.dsn, autocommit=True) as source:
        source.execute("DROP TABLE IF EXISTS items")
        source.execute(pulled.TABLE)
        for number in range(60):
            source.execute("INSERT INTO items VALUES (%s, 'n', 1, %s)", (number, noon + timedelta(minutes=number)))
    given = pulled.with_database(settings, stack.postgres.dsn)
    graph = Graph.build(load(pulled.write(tmp_path / "pipeline")), given)
    graph.prepare(spark)
    request = Backfill(
        table="bronze.items", source="jdbc", since="2026-03-01T12:10", until="2026-03-01T12:40", batch_rows=7
    )
    done = bring(graph, spark, request, given)
    assert (done["read"], done["accepted"]) == (30, 30)
    assert sorted(row[0] for row in rows_of(graph.lake.table("silver.items"), "id")) == list(range(11, 41))
    assert not Path(graph.lake.root, "_checkpoints/_watermarks").exists()
