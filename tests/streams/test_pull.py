"""Tables that are pulled from a real PostgreSQL: late commits, copies, rejects, crashes, and the watermark's store."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pyspark.sql import SparkSession

from checkpoints import failpoints
from checkpoints.journal import Act
from checkpoints.requests import Author, Backfill, Rewind
from checkpoints.watermarks import FileWatermarks, SsmWatermarks
from deploy.embedded.stack import EmbeddedStack
from schemas.loader import load
from schemas.settings import Settings, SourceSettings
from streams.acts.backfill import carry_out_backfill
from streams.acts.carry_out import carry_out, plan_of
from streams.audit.table import audit
from streams.commands.asking import handing_down
from streams.graph import Graph
from streams.intake import pull as pulling
from streams.intake.dialects import POSTGRESQL, REDSHIFT, SNOWFLAKE
from streams.intake.errors import DriverMissing, SourceUnreachable
from streams.intake.pull import Puller
from tests.support import pulled
from tests.support.moto import moto
from tests.support.service import ServiceProcess, free_port
from tests.support.tables import lane_records, rows_of

pytestmark = pytest.mark.stack
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tables=[]) as started:
        yield started


@pytest.fixture
def source(stack: EmbeddedStack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.postgres.dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS items")
        connection.execute(pulled.TABLE)
        yield connection


@pytest.fixture
def given(request: pytest.FixtureRequest, settings: Settings, stack: EmbeddedStack) -> Settings:
    """Redshift speaks PostgreSQL's protocol and, in what is asked here, its SQL."""
    dialect = getattr(request, "param", "postgresql")
    return pulled.with_database(settings, stack.postgres.dsn, dialect=dialect, plain_driver=True)


@pytest.fixture
def graph(given: Settings, tmp_path: Path, spark: SparkSession) -> Graph:
    built = Graph.build(load(pulled.write(tmp_path / "pipeline")), given)
    built.prepare(spark)
    return built


def put(source: psycopg.Connection, number: int, name: str | None, minutes: float, price: str = "1.10") -> None:
    source.execute(
        "INSERT INTO items VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO UPDATE "
        "SET name = excluded.name, price = excluded.price, updated_at = excluded.updated_at",
        (number, name, Decimal(price), NOON + timedelta(minutes=minutes)),
    )


def drain(graph: Graph, spark: SparkSession, settings: Settings) -> int:
    """Pull until nothing is left, and bring the tables below up to date; how many slices there were."""
    step = graph.bronze["bronze.items"]
    pull = step.spec.source.jdbc
    assert pull is not None
    slices = 0
    while (outcome := Puller(step, pull, spark, settings).slice()) is not None:
        slices += 1
        assert slices < 50
        for name, below in graph.below.items():
            below.run(spark, outcome.handover if name == "silver.items" else None)
        if outcome.handover is not None:
            outcome.handover.rows.release()
    return slices


def items(graph: Graph) -> list[tuple[object, ...]]:
    return rows_of(graph.lake.table("silver.items"), "id", "name", "price")


def watermark(graph: Graph) -> datetime | None:
    return FileWatermarks(graph.lake).get("items")


@pytest.mark.parametrize("given", ["postgresql", "redshift"], indirect=True)
def test_rows_are_pulled_once_each_time_they_change(
    graph: Graph, given: Settings, spark: SparkSession, source: psycopg.Connection
) -> None:
    for number in range(250):
        put(source, number, f"n{number % 3}", number / 100, f"{number}.25")
    assert drain(graph, spark, given) == 3
    assert len(items(graph)) == 250
    assert drain(graph, spark, given) == 0

    put(source, 7, "new", 10, "12345678.99")
    # Committed late: its time is before the watermark, and within the lookback.
    put(source, 900, "late", 9.5)
    assert drain(graph, spark, given) == 1

    assert watermark(graph) == NOON + timedelta(minutes=10)
    bronze = rows_of(graph.lake.table("bronze.items"), "id", "updated_at", "_source_system", "_topic")
    assert len(bronze) == len(set(bronze)) == 252
    assert {row[2:] for row in bronze} == {("warehouse", "pull.warehouse.public.items")}
    assert (7, "new", Decimal("12345678.99")) in items(graph)
    assert (900, "late", Decimal("1.10")) in items(graph)
    assert dict(rows_of(graph.lake.table("gold.items_per_name")))["new"] == 1
    assert audit(graph.lake, "bronze.items").differences == ()


def test_what_breaks_the_contract_goes_to_the_lane_once(
    graph: Graph, given: Settings, spark: SparkSession, source: psycopg.Connection
) -> None:
    put(source, 1, "fine", 0)
    put(source, 2, "much too long", 0.5)
    drain(graph, spark, given)
    assert drain(graph, spark, given) == 0
    put(source, 3, "fine", 0.6)
    drain(graph, spark, given)

    assert [row[0] for row in items(graph)] == [1, 3]
    assert [one["violations"][0]["rule"] for one in lane_records(graph.lake.errors("bronze.items"))] == [
        "schema.maxLength"
    ]
    assert audit(graph.lake, "bronze.items").differences == ()


@pytest.mark.parametrize(
    "place", ["bronze.planned", "bronze.before_append", "bronze.after_append", "pull.before_watermark"]
)
def test_a_crash_anywhere_loses_nothing_and_doubles_nothing(
    place: str,
    graph: Graph,
    given: Settings,
    spark: SparkSession,
    source: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(150):
        put(source, number, "n", number / 100)
    reach = failpoints.from_environment({failpoints.VARIABLE: f"{place}=raise@2"})
    monkeypatch.setattr(pulling, "reach", reach)
    monkeypatch.setattr("streams.bronze.reach", reach)
    with pytest.raises(failpoints.Failpoint):
        drain(graph, spark, given)
    put(source, 3, "moved", 5)  # what is planned reads it no more
    drain(graph, spark, given)

    bronze = rows_of(graph.lake.table("bronze.items"), "id", "updated_at")
    assert len(bronze) == len(set(bronze))
    assert {row[0] for row in items(graph)} == set(range(150))
    assert (3, "moved", Decimal("1.10")) in items(graph)
    assert watermark(graph) == NOON + timedelta(minutes=5)
    assert audit(graph.lake, "bronze.items").differences == ()


def test_a_watermark_that_is_lost_costs_reading_and_no_row(
    graph: Graph, given: Settings, spark: SparkSession, source: psycopg.Connection
) -> None:
    put(source, 1, "one", 0)
    drain(graph, spark, given)
    Path(graph.lake.root, "_checkpoints/_watermarks/items.json").unlink()
    put(source, 2, "two", 3)
    drain(graph, spark, given)

    assert rows_of(graph.lake.table("bronze.items"), "id") == [(1,), (2,)]
    assert watermark(graph) == NOON + timedelta(minutes=3)


def test_a_slice_is_read_in_several_connections(
    given: Settings, tmp_path: Path, spark: SparkSession, source: psycopg.Connection
) -> None:
    folder = pulled.write(tmp_path / "parted")
    spec = folder / "tables/bronze.items.yml"
    spec.write_text(
        spec.read_text().replace("batch_rows: 100", "batch_rows: 100\n    partition_column: id\n    partitions: 3")
    )
    graph = Graph.build(load(folder), given)
    graph.prepare(spark)
    for number in range(90):
        put(source, number, "n", number / 100)
    drain(graph, spark, given)
    assert sorted(int(str(row[0])) for row in items(graph)) == list(range(90))


def test_the_service_pulls_and_a_drain_ends(
    stack: EmbeddedStack, source: psycopg.Connection, service_jars: Path, tmp_path: Path
) -> None:
    put(source, 1, "one", 0)
    parts = pulled.database(stack.postgres.dsn)
    service = ServiceProcess(
        {
            "lake": str(tmp_path / "lake"),
            "pipeline": str(pulled.write(tmp_path / "pipeline")),
            "jars_dir": str(service_jars),
            "metrics_port": str(free_port()),
            "sources.warehouse.host": str(parts.host),
            "sources.warehouse.port": str(parts.port),
            "sources.warehouse.database": str(parts.database),
            "sources.warehouse.user": str(parts.user),
            "sources.warehouse.password": parts.secret() or "",
        },
        tmp_path / "log",
    )
    assert service.run_to_end("--once") == 0, service.log.read_text()[-2000:]
    assert rows_of(str(tmp_path / "lake/gold/items_per_name")) == [("one", 1)]
    service.settings = {**service.settings, "sources.warehouse.password": "wrong"}
    assert service.run_to_end("--once") == 1
    text = service.log.read_text()
    assert "`warehouse` can not be read" in text
    assert (parts.secret() or "?") not in text
    done = service.command("checkpoints", "reset", "bronze.items", "--to", "earliest")
    assert done.returncode == 2
    assert "is pulled from a database" in " ".join(done.stderr.split())


def test_a_driver_that_is_missing_is_named(
    settings: Settings, stack: EmbeddedStack, tmp_path: Path, spark: SparkSession, source: psycopg.Connection
) -> None:
    for dialect, jar in (("snowflake", "snowflake-jdbc"), ("redshift", "redshift-jdbc42")):
        given = pulled.with_database(settings, stack.postgres.dsn, dialect=dialect)
        graph = Graph.build(load(pulled.write(tmp_path / dialect)), given)
        with pytest.raises(DriverMissing, match=jar):
            drain(graph, spark, given)


def test_a_source_that_refuses_is_told_in_a_sentence(
    settings: Settings, stack: EmbeddedStack, tmp_path: Path, spark: SparkSession
) -> None:
    given = pulled.with_database(settings, stack.postgres.dsn, port=1)
    graph = Graph.build(load(pulled.write(tmp_path / "pipeline")), given)
    graph.prepare(spark)
    with pytest.raises(SourceUnreachable, match="`warehouse` can not be read"):
        drain(graph, spark, given)


def test_the_pulls_go_on_from_where_a_backfill_ended_if_that_is_asked_for(
    graph: Graph, given: Settings, spark: SparkSession, source: psycopg.Connection, tmp_path: Path
) -> None:
    for number in range(50):
        put(source, number, "same", number)
    drain(graph, spark, given)
    put(source, 900, "late", 30)  # committed long after its time: no lookback finds it
    assert drain(graph, spark, given) == 0
    before = items(graph)
    since, until = ((NOON + timedelta(minutes=minutes)).isoformat() for minutes in (10, 20))
    then = datetime.now(UTC).isoformat()
    for moves, left_at in ((False, 49), (True, 20)):
        request = Backfill(table="bronze.items", source="jdbc", since=since, until=until, move_watermark=moves)
        act, hand_on = Act(author=Author.here(), action=request), handing_down(graph, spark)
        carry_out_backfill(graph, spark, given, act, request, hand_on, lambda *_: None)
        assert watermark(graph) == NOON + timedelta(minutes=left_at)

    again = Graph.build(load(tmp_path / "pipeline"), given)
    again.prepare(spark)
    drain(again, spark, given)
    assert watermark(again) == NOON + timedelta(minutes=49)
    topics = Counter(topic for (topic,) in rows_of(graph.lake.table("bronze.items"), "_topic"))
    assert sorted(topics.values()) == [10, 51]
    assert items(again) == [*before, (900, "late", Decimal("1.10"))]
    plan = plan_of(again, given, Rewind(to=then)).lines
    assert [line.split(" ", 6)[-1] for line in plan if "Backfill" in line] == [
        "is undone with them, and NOT read again: the same command with --again brings it."
    ]


def test_a_rewound_table_is_pulled_again_from_where_it_was_then(
    graph: Graph, given: Settings, spark: SparkSession, source: psycopg.Connection, tmp_path: Path
) -> None:
    for number in range(100):
        put(source, number, "n", number / 100)
    put(source, 500, "much too long", 1)  # rejected before the cut, and within what is looked back to
    drain(graph, spark, given)
    time.sleep(0.01)
    cut = datetime.now(UTC)
    for number in range(100, 350):  # several slices
        put(source, number, "n", number / 100 + 5)
    put(source, 501, "much too long", 9)
    drain(graph, spark, given)
    before, known = items(graph), {row[0] for row in rows_of(graph.lake.table("bronze.items"), "id")}

    ada, rewind = Author(who="ada", host="here", command="sluice test"), Rewind(to=cut.isoformat())
    done = carry_out(graph, None, given, rewind, ada)
    assert (
        "    3 of its batches are undone; generation 1 pulls public.items again from 2026-03-01 12:01:00.000000"
        in (done["plan"])
    )
    again = Graph.build(load(tmp_path / "pipeline"), given)
    again.prepare(spark)
    assert len(items(again)) == 100
    drain(again, spark, given)

    assert items(again) == before
    rows = rows_of(again.lake.table("bronze.items"), "id")
    assert sorted(rows) == sorted((number,) for number in known)
    assert sorted(json.loads(base64.b64decode(one["value"]))["id"] for one in lanes_of(again)) == [500, 501]
    assert watermark(again) == NOON + timedelta(minutes=9)
    assert audit(again.lake, "bronze.items").differences == ()


def lanes_of(graph: Graph) -> list[dict[str, Any]]:
    return lane_records(graph.lake.errors("bronze.items"))


def test_dialects_differ_in_names_times_and_addresses() -> None:
    source = SourceSettings(host="h", database="d", user="u")
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    found = [(one.url(source), one.name_of("updated_at"), one.instant(at)) for one in (POSTGRESQL, REDSHIFT, SNOWFLAKE)]
    assert found == [
        ("jdbc:postgresql://h:5432/d", '"updated_at"', "CAST('2026-01-02 03:04:05.678901+00:00' AS timestamptz)"),
        ("jdbc:redshift://h:5432/d", '"updated_at"', "CAST('2026-01-02 03:04:05.678901+00:00' AS timestamptz)"),
        (
            "jdbc:snowflake://h/?db=d&CLIENT_SESSION_KEEP_ALIVE=true&JDBC_QUERY_RESULT_FORMAT=JSON",
            '"UPDATED_AT"',
            "CAST('2026-01-02 03:04:05.678901+00:00' AS TIMESTAMP_TZ)",
        ),
    ]


def test_a_watermark_in_awss_parameter_store_moves_forward_only() -> None:
    with moto():
        store = SsmWatermarks("/sluice/shop")
        assert store.get("items") is None
        assert store.advance("items", NOON)
        assert not store.advance("items", NOON - timedelta(days=1))
        assert not store.advance("items", NOON)
        assert store.get("items") == NOON
        assert store.advance("items", NOON - timedelta(days=1), back=True)
        assert SsmWatermarks("/sluice/shop").get("items") == NOON - timedelta(days=1)
        assert SsmWatermarks("/sluice/other").get("items") is None
