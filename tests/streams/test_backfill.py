"""History brought in from files, topics and databases: once, under the contract, and never over newer state."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from checkpoints.requests import Backfill
from deploy.embedded.stack import EmbeddedStack
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
    NotYetPassed,
    UnknownFile,
)
from streams.intake.files import FileSource
from streams.intake.kafka import TopicSource
from streams.intake.make import source_of
from tests.support import people, pulled
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
    source = source_of(graph, spark, settings, request)
    return run_backfill(graph.bronze[request.table], spark, request, source, handing_down(graph, spark))


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
def test_a_batch_that_was_planned_before_a_reset_waits_until_the_query_has_passed_it(
    stack: EmbeddedStack, graph: Graph, settings: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    from checkpoints import failpoints

    stack.create_topics({"archive.visits": 1})
    producer = Producer({"bootstrap.servers": stack.kafka.bootstrap})
    for number in range(20):
        producer.produce("archive.visits", json.dumps(visit(number, 7)))
    assert producer.flush(30) == 0
    given = settings.model_copy(
        update={"kafka": settings.kafka.model_copy(update={"bootstrap_servers": stack.kafka.bootstrap})}
    )
    request = Backfill(table="bronze.visits", source="kafka", topic="archive.visits", batch_rows=10)
    reach = failpoints.from_environment({failpoints.VARIABLE: "bronze.before_append=raise@2"})
    monkeypatch.setattr("streams.bronze.reach", reach)
    with pytest.raises(failpoints.Failpoint):
        bring(graph, spark, request, given)
    monkeypatch.undo()

    source = source_of(graph, spark, given, request)
    assert isinstance(source, TopicSource)
    live, hand_on = graph.bronze["bronze.visits"], handing_down(graph, spark)
    with pytest.raises(NotYetPassed, match=r"archive.visits\[0\]@20"):
        run_backfill(live, spark, request, replace(source, end={0: 12}), hand_on)
    assert len(rows_of(live.table.path, "_offset")) == 10
    assert run_backfill(live, spark, request, source, hand_on)["accepted"] == 10


@pytest.mark.stack
def test_a_backfill_that_is_killed_goes_on(stack: EmbeddedStack, service_jars: Path, tmp_path: Path) -> None:
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
    assert "backfill" in town.sluice("journal")


@pytest.mark.stack
def test_a_batch_that_spark_wrote_before_a_kill_is_not_written_again(
    stack: EmbeddedStack, service_jars: Path, tmp_path: Path
) -> None:
    """Who goes on raises the fence, under which Spark's positions have another name: the backfill's are taken along."""
    town = Town(stack, tmp_path, service_jars, "large")
    town.service.settings = {**town.service.settings, "small_batch_rows": "0"}
    path = write_lines(tmp_path / "old.jsonl", [visit(n, n % 7) for n in range(300)])
    command = ["backfill", "--table", "bronze.visits", "--source", "files", "--path", path, "--batch-rows", "100"]

    assert town.service.command(*command, "--yes", failpoints="bronze.after_append=kill@2").returncode == -9
    assert len(rows_of(town.lake.table("bronze.visits"), "_offset")) == 200
    town.sluice(*command, "--yes")

    assert rows_of(town.lake.table("bronze.visits"), "_offset") == sorted(((n,) for n in range(300)), key=repr)
    town.sluice("audit")


@pytest.mark.stack
def test_a_running_service_brings_history_in_beside_its_queries(
    stack: EmbeddedStack, service_jars: Path, tmp_path: Path
) -> None:
    town, count = Town(stack, tmp_path, service_jars, "beside"), 20_000
    path = write_lines(tmp_path / "old.jsonl", [visit(1_000 + n, n % 7) for n in range(count)])
    command = ["backfill", "--table", "bronze.visits", "--source", "files", "--path", path, "--batch-rows", "1000"]
    bronze, ops = town.lake.table("bronze.visits"), Path(town.lake.root, "_ops")
    town.live(50)
    town.service.start()
    town.service.wait_for(is_drained, "it runs")
    town.sluice(*command, "--yes", "--source", "jdbc", code=2)
    town.sluice(*command, "--yes", "--from", "7d", code=2)

    def ask(rate: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "streams", *command, "--yes", "--rate", str(rate)],
            env=town.service.environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_until_under_way(process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 120
        while not list(ops.glob("progress/*.json")) and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)

    # Who has asked thinks better of it: it stops where it is.
    interrupted = ask(1000)
    wait_until_under_way(interrupted)
    interrupted.send_signal(signal.SIGINT)
    _, complaints = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    assert "The same command goes on where it was." in complaints
    assert "Traceback" not in complaints
    deadline = time.monotonic() + 60
    while "withdrawn" not in town.service.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list(ops.glob("requests/*")) + list(ops.glob("progress/*"))
    held = len(rows_of(bronze, "_offset"))
    assert held < count

    # Another time: live records come, something needs rest, and the service is killed meanwhile.
    process = ask(1000)
    wait_until_under_way(process)
    town.live(60)
    town.sluice("replay", "--tables", "silver.visits", "--yes")
    town.service.kill()
    town.service.start()
    town.live(30)
    printed, complaints = process.communicate(timeout=180)
    assert process.returncode == 0, complaints
    assert "20 batches in all" in printed
    town.service.wait_for(is_drained, "all is in every table")
    assert town.service.terminate() == 0

    rows = [row for row in rows_of(bronze, "_topic", "_offset") if str(row[0]).startswith("backfill.")]
    assert sorted(offset for _, offset in rows) == list(range(count))
    found = town.look()
    assert (found.lost, found.doubled) == ([], [])
    silver = dict(rows_of(town.lake.table("silver.visits"), "visit", "person"))
    assert silver == {**{one: who for one, (who, _) in town.visits.items()}, **{1_000 + n: n % 7 for n in range(count)}}
    town.sluice("audit")
    acts = json.loads(town.sluice("journal", "--json"))
    assert [(one["action"]["action"], one["state"]) for one in acts] == [
        ("backfill", "failed"),
        ("backfill", "done"),
        ("replay", "done"),
    ]
    assert "withdrawn" in acts[0]["error"]
    assert acts[1]["after"]["batches"] == 20


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
