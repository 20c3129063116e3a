"""Tables that are pulled from a real PostgreSQL: late commits, copies, rejects, crashes, and the watermark's store."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import psycopg
import pytest
from botocore.stub import Stubber
from pyspark.sql import SparkSession

from checkpoints import failpoints
from checkpoints.errors import CheckpointLost, UnreadableWatermark, WatermarkStoreFailed
from checkpoints.journal import Act
from checkpoints.requests import Author, Backfill, Reset, Rewind
from checkpoints.watermarks import FileWatermarks, SsmWatermarks
from deploy.embedded.stack import EmbeddedStack
from schemas.errors import SluiceError
from schemas.loader import load
from schemas.settings import Settings, SourceSettings
from streams.acts.backfill import carry_out_backfill
from streams.acts.carry_out import carry_out, plan_of
from streams.audit.table import audit
from streams.commands.asking import handing_down
from streams.graph import Graph
from streams.intake import pull as pulling
from streams.intake.dialects import POSTGRESQL, REDSHIFT, SNOWFLAKE
from streams.intake.errors import DriverMissing, UnfitColumn
from streams.intake.jdbc import BEGINNING, JdbcSource
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
    file = Path(graph.lake.root, "_checkpoints/_watermarks/items.json")
    file.unlink()
    assert drain(graph, spark, given) == 0
    assert watermark(graph) == NOON  # found again from what was pulled
    file.write_text('{"watermark": "noon"}')
    with pytest.raises(UnreadableWatermark, match="is no time"):
        drain(graph, spark, given)
    file.unlink()
    put(source, 2, "two", 3)
    drain(graph, spark, given)

    assert rows_of(graph.lake.table("bronze.items"), "id") == [(1,), (2,)]
    assert watermark(graph) == NOON + timedelta(minutes=3)


def test_a_checkpoint_that_is_lost_is_made_anew(
    graph: Graph, given: Settings, spark: SparkSession, source: psycopg.Connection, tmp_path: Path
) -> None:
    put(source, 1, "one", 0)
    drain(graph, spark, given)
    put(source, 2, "two", 3)
    shutil.rmtree(graph.bronze["bronze.items"].checkpoint)
    again = Graph.build(load(tmp_path / "pipeline"), given)
    with pytest.raises(CheckpointLost, match=r"`sluice checkpoints recover bronze\.items` makes a new one"):
        again.prepare(spark)

    ada = Author(who="ada", host="here", command="sluice test")
    carry_out(again, None, given, Reset(table="bronze.items", to="ledger"), ada)
    again = Graph.build(load(tmp_path / "pipeline"), given)
    again.prepare(spark)
    drain(again, spark, given)
    assert rows_of(again.lake.table("bronze.items"), "id") == [(1,), (2,)]
    assert items(again) == [(1, "one", Decimal("1.10")), (2, "two", Decimal("1.10"))]
    assert audit(again.lake, "bronze.items").differences == ()


@pytest.mark.parametrize("how", ["pull", "backfill"])
def test_what_is_committed_between_plan_and_read_pushes_nothing_out(
    how: str,
    graph: Graph,
    given: Settings,
    spark: SparkSession,
    source: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def bring() -> None:
        if how == "pull":
            drain(graph, spark, given)
            return
        request = Backfill(table="bronze.items", source="jdbc")
        act, hand_on = Act(author=Author.here(), action=request), handing_down(graph, spark)
        carry_out_backfill(graph, spark, given, act, request, hand_on, lambda *_: None)

    for number in range(10):
        put(source, number, "n", number * 10)
    reach = failpoints.from_environment({failpoints.VARIABLE: "bronze.before_append=raise@1"})
    monkeypatch.setattr("streams.bronze.reach", reach)
    with pytest.raises(failpoints.Failpoint):
        bring()
    for number in range(20, 25):
        put(source, number, "late", (number - 20) * 10 + 5)
    bring()

    expected = {*range(10), *range(20, 25)}
    assert sorted(row[0] for row in rows_of(graph.lake.table("bronze.items"), "id")) == sorted(expected)
    assert {row[0] for row in items(graph)} == expected
    assert audit(graph.lake, "bronze.items").differences == ()


def test_a_row_of_the_future_waits_and_keeps_nothing_back(
    graph: Graph, given: Settings, spark: SparkSession, source: psycopg.Connection
) -> None:
    put(source, 1, "one", 0)
    put(source, 2, "in 2999", 512_000_000)
    source.execute("INSERT INTO items VALUES (3, 'never', 1, 'infinity')")
    drain(graph, spark, given)
    assert watermark(graph) == NOON
    put(source, 4, "four", 5)
    source.execute("INSERT INTO items VALUES (5, 'always', 1, '-infinity'), (6, NULL, 1, NULL)")
    drain(graph, spark, given)
    assert [row[0] for row in items(graph)] == [1, 4]
    assert watermark(graph) == NOON + timedelta(minutes=5)


def test_a_watermark_without_a_zone_is_of_utc(
    graph: Graph, given: Settings, spark: SparkSession, source: psycopg.Connection
) -> None:
    source.execute("ALTER TABLE items ALTER updated_at TYPE timestamp")
    # In New York, which is where this process is, there is no half past two in that night.
    night = [datetime(2026, 3, 8, 1) + timedelta(minutes=30 * number) for number in range(6)]
    for number, at in enumerate(night):
        source.execute("INSERT INTO items VALUES (%s, 'n', 1, %s)", (number, at))
    drain(graph, spark, given)
    source.execute("INSERT INTO items VALUES (9, 'n', 1, %s)", (night[-1] + timedelta(seconds=1),))
    drain(graph, spark, given)

    assert rows_of(graph.lake.table("bronze.items"), "id", "_kafka_ts") == [
        *((number, at.replace(tzinfo=UTC)) for number, at in enumerate(night)),
        (9, (night[-1] + timedelta(seconds=1)).replace(tzinfo=UTC)),
    ]
    assert watermark(graph) == (night[-1] + timedelta(seconds=1)).replace(tzinfo=UTC)


VALUES = {
    "numeric": [
        ("1.10", "1.10"),
        ("123456789012345678901234567890123456789012.5", "123456789012345678901234567890123456789012.5"),
        ("1.1234567890123456789012345", "1.1234567890123456789012345"),
        ("'NaN'", '"NaN"'),
        ("NULL", "null"),
    ],
    "numeric(10, 2)": [("1.1", "1.10"), ("'NaN'", '"NaN"')],
    "timestamptz": [
        ("'2026-03-08 02:30:00.123456+00'", '"2026-03-08T02:30:00.123456Z"'),
        ("'1500-02-01 00:00:00+00'", '"1500-02-01T00:00:00.000000Z"'),
        ("'infinity'", '"infinity"'),
        ("'0044-03-15 00:00:00+00 BC'", '"0044-03-15 00:00:00+00 BC"'),
    ],
    "timestamp": [("'2026-03-08 02:30:00'", '"2026-03-08T02:30:00.000000Z"'), ("NULL", "null")],
    "time": [("'12:34:56.789012'", '"12:34:56.789012"')],
    "date": [("'2026-01-31'", '"2026-01-31"'), ("'infinity'", '"infinity"')],
    "bytea": [(r"'\x0102ff'", '"AQL/"')],
    "jsonb": [("""'{"a": [1]}'""", r'"{\"a\": [1]}"')],
    "uuid": [("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"')],
    "inet": [("'10.0.0.1/8'", '"10.0.0.1/8"')],
    "int[]": [("'{1,2,null}'", "[1,2,null]")],
    "float8": [("'NaN'", '"NaN"'), ("0.1", "0.1")],
}
"""Type -> what is inserted, and what it is in the record."""


def test_values_become_json_as_they_are(
    given: Settings, graph: Graph, spark: SparkSession, stack: EmbeddedStack
) -> None:
    pull = graph.bronze["bronze.items"].spec.source.jdbc
    assert pull is not None
    found, expected = {}, {}
    with psycopg.connect(stack.postgres.dsn, autocommit=True) as database:
        database.execute("DROP TABLE IF EXISTS odd; CREATE TABLE odd (id numeric, updated_at timestamptz)")
        cases = [(kind, *case) for kind, cases in VALUES.items() for case in cases]
        for number, (kind, _, _) in enumerate(cases):
            database.execute(f'ALTER TABLE odd ADD COLUMN "v.{number}`\'s" {kind}')
        values = ", ".join(given_as for _, given_as, _ in cases)
        database.execute(f"INSERT INTO odd VALUES (7, '2026-01-01 00:00+00', {values})")
    of = JdbcSource(
        spark,
        given.sources["warehouse"],
        POSTGRESQL,
        pull.model_copy(update={"table": "public.odd"}),
        ("id",),
        "t",
        BEGINNING,
        None,
    )
    planned = of.next(None)
    assert planned is not None
    (row,) = of.read(spark, planned, {0: 0}).collect()

    members = json.loads(row["value"], parse_float=str, parse_int=str)
    for number, (kind, given_as, is_json) in enumerate(cases):
        found[kind, given_as] = members[f"v.{number}`'s"]
        expected[kind, given_as] = json.loads(is_json, parse_float=str, parse_int=str)
    assert found == expected
    assert (members["id"], bytes(row["key"])) == ("7", b'{"id":"7"}')


def test_old_rows_from_files_take_their_place_by_their_watermark(
    graph: Graph, given: Settings, spark: SparkSession, source: psycopg.Connection, tmp_path: Path
) -> None:
    put(source, 1, "new", 5)
    put(source, 2, "older", 0)
    drain(graph, spark, given)
    rows = [(1, "old", 0), (2, "newer", 1), (3, "only", 0)]
    path = tmp_path / "old.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": one, "name": name, "price": 1.1, "updated_at": f"{NOON + timedelta(minutes=at):%FT%TZ}"})
            + "\n"
            for one, name, at in rows
        )
    )
    request = Backfill(table="bronze.items", source="files", path=str(path))
    act, hand_on = Act(author=Author.here(), action=request), handing_down(graph, spark)
    carry_out_backfill(graph, spark, given, act, request, hand_on, lambda *_: None)

    assert [row[:2] for row in items(graph)] == [(1, "new"), (2, "newer"), (3, "only")]


def test_columns_that_can_not_be_gone_by_are_told(
    graph: Graph, given: Settings, spark: SparkSession, source: psycopg.Connection
) -> None:
    source.execute("ALTER TABLE items ALTER updated_at TYPE bigint USING 1")
    with pytest.raises(
        UnfitColumn, match=r"`watermark_column: updated_at` of public\.items at `warehouse`: it is of type"
    ):
        drain(graph, spark, given)
    source.execute("ALTER TABLE items DROP COLUMN updated_at")
    with pytest.raises(UnfitColumn, match="it has no such column"):
        drain(graph, spark, given)


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
    wrong = "not-what-it-is-42"
    service.settings = {**service.settings, "sources.warehouse.password": wrong}
    assert service.run_to_end("--once") == 1
    text = service.log.read_text()
    assert "`warehouse` can not be read: FATAL: password authentication failed" in text
    assert wrong not in text
    done = service.command("checkpoints", "reset", "bronze.items", "--to", "earliest")
    assert done.returncode == 2
    assert "is pulled from a database" in " ".join(done.stderr.split())


def test_a_driver_that_is_missing_is_named(
    settings: Settings, stack: EmbeddedStack, tmp_path: Path, spark: SparkSession, source: psycopg.Connection
) -> None:
    for dialect, jar in (("snowflake", "snowflake-jdbc"), ("redshift", "redshift-jdbc42")):
        given = pulled.with_database(settings, stack.postgres.dsn, dialect=dialect)
        graph = Graph.build(load(pulled.write(tmp_path / dialect)), given)
        graph.prepare(spark)
        with pytest.raises(DriverMissing, match=jar):
            drain(graph, spark, given)


def test_a_source_that_refuses_is_told_in_a_sentence(
    settings: Settings, stack: EmbeddedStack, tmp_path: Path, spark: SparkSession
) -> None:
    cases = {
        "`warehouse` can not be read: Connection to": {"port": 1},
        "`warehouse` can not be read: The server does not support SSL": {"ssl_mode": "verify-full"},
        "`warehouse` can not be read: FATAL: database": {"database": "elsewhere"},
        "`sources.warehouse.password_file`: /nowhere can not be read": {"password": None, "password_file": "/nowhere"},
    }
    for number, (sentence, wrong) in enumerate(cases.items()):
        given = pulled.with_database(settings, stack.postgres.dsn, **wrong)
        graph = Graph.build(load(pulled.write(tmp_path / f"pipeline{number}")), given)
        graph.prepare(spark)
        with pytest.raises(SluiceError, match=sentence):
            drain(graph, spark, given)


def test_the_pulls_go_on_from_where_a_backfill_ended_if_that_is_asked_for(
    graph: Graph,
    given: Settings,
    spark: SparkSession,
    source: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(50):
        put(source, number, "same", number)
    drain(graph, spark, given)
    put(source, 900, "late", 30)  # committed long after its time: no lookback finds it
    assert drain(graph, spark, given) == 0
    before = items(graph)
    since, until = ((NOON + timedelta(minutes=minutes)).isoformat() for minutes in (10, 20))
    then = datetime.now(UTC).isoformat()
    for moves, left_at in ((False, 49), (True, 49), (True, 20)):
        request = Backfill(table="bronze.items", source="jdbc", since=since, until=until, move_watermark=moves)
        act, hand_on = Act(author=Author.here(), action=request), handing_down(graph, spark)
        is_cut_short = moves and left_at == 49  # then nothing may have moved
        with (
            monkeypatch.context() as patch,
            pytest.raises(OSError, match="no space") if is_cut_short else contextlib.nullcontext(),
        ):
            if is_cut_short:
                patch.setattr("checkpoints.generations.keep", Mock(side_effect=OSError("no space")))
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
        ("jdbc:redshift://h:5439/d", '"updated_at"', "CAST('2026-01-02 03:04:05.678901+00:00' AS timestamptz)"),
        (
            "jdbc:snowflake://h/?db=d&CLIENT_SESSION_KEEP_ALIVE=true&JDBC_QUERY_RESULT_FORMAT=JSON",
            '"UPDATED_AT"',
            "CAST('2026-01-02 03:04:05.678901+00:00' AS TIMESTAMP_TZ)",
        ),
    ]
    assert (
        POSTGRESQL.instant(datetime(45, 1, 2, tzinfo=UTC)) == "CAST('0045-01-02 00:00:00.000000+00:00' AS timestamptz)"
    )
    assert POSTGRESQL.quoted('a"b') == '"a""b"'


def test_a_connection_is_secured_in_the_words_of_its_driver() -> None:
    source = SourceSettings(host="h", database="d", user="u", ssl_mode="verify-full", ssl_ca_location=Path("/ca.pem"))
    plain = {"connectTimeout": "10", "loginTimeout": "10", "tcpKeepAlive": "true"}
    assert POSTGRESQL.connection(source) == {**plain, "sslmode": "verify-full", "sslrootcert": "/ca.pem"}
    by_postgresql = source.model_copy(update={"dialect": "redshift", "plain_driver": True})
    assert REDSHIFT.connection(by_postgresql) == POSTGRESQL.connection(source)
    assert REDSHIFT.connection(source) == {
        "loginTimeout": "10", "SSL": "true", "SSLMode": "verify-full", "SSLRootCert": "/ca.pem"
    }  # fmt: skip
    assert REDSHIFT.connection(SourceSettings(ssl_mode="disable"))["SSL"] == "false"
    assert SNOWFLAKE.connection(source) == {"loginTimeout": "10"}


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


def test_what_awss_parameter_store_refuses_or_has_is_told_in_a_sentence() -> None:
    with moto():
        client = boto3.client("ssm")
        store = SsmWatermarks("/sluice/shop", client)
        client.put_parameter(Name="/sluice/shop/items", Value="2026-03-01 12:00", Type="String")
        assert store.get("items") == NOON
        client.put_parameter(Name="/sluice/shop/items", Value="noon", Type="String", Overwrite=True)
        with pytest.raises(UnreadableWatermark, match="/sluice/shop/items is no time"):
            store.get("items")
        with Stubber(client) as stubber:
            stubber.add_client_error(
                "get_parameter", "AccessDeniedException", "arn:aws:sts::1:some-role is not allowed"
            )
            with pytest.raises(WatermarkStoreFailed, match="Parameter Store: AccessDeniedException") as told:
                store.get("items")
        assert "some-role" not in str(told.value)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            patch.delenv(name, raising=False)
        with pytest.raises(WatermarkStoreFailed, match="must specify a region"):
            SsmWatermarks("/sluice/shop")
