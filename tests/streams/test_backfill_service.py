"""Backfills on real parts: of topics and databases, killed and gone on with, and beside a running service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Producer
from pyspark.sql import SparkSession

from checkpoints.requests import Backfill
from deploy.embedded.stack import EmbeddedStack
from schemas.loader import load
from schemas.settings import Settings
from streams.commands.asking import handing_down
from streams.graph import Graph
from streams.intake.backfill import run_backfill
from streams.intake.errors import (
    NotYetPassed,
)
from streams.intake.kafka import TopicSource
from streams.intake.make import source_of
from tests.support import pulled
from tests.support.backfills import bring, visit, write_lines
from tests.support.service import is_drained
from tests.support.tables import rows_of
from tests.support.town import Town

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        yield started


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


def test_a_batch_that_spark_wrote_before_a_kill_is_not_written_again(
    stack: EmbeddedStack, service_jars: Path, tmp_path: Path
) -> None:
    """Who goes on raises the fence, under which Spark's positions have another name: the backfill's are taken along."""
    town = Town(stack, tmp_path, service_jars, "large")
    town.set("small_batch_rows", "0")
    path = write_lines(tmp_path / "old.jsonl", [visit(n, n % 7) for n in range(300)])
    command = ["backfill", "--table", "bronze.visits", "--source", "files", "--path", path, "--batch-rows", "100"]

    assert town.service.command(*command, "--yes", failpoints="bronze.after_append=kill@2").returncode == -9
    assert len(rows_of(town.lake.table("bronze.visits"), "_offset")) == 200
    town.sluice(*command, "--yes")

    assert rows_of(town.lake.table("bronze.visits"), "_offset") == sorted(((n,) for n in range(300)), key=repr)
    town.sluice("audit")


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
