"""Avro to bronze: each record by its writer's schema, broken ones to the lane, for an outage of the registry none."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from checkpoints import ledger
from deploy.embedded.registry import EmbeddedRegistry
from schemas.loader import load
from schemas.settings import RegistrySettings, Settings
from streams.errors import RegistryUnavailable
from streams.graph import Graph
from tests.support.avro import body, confluent, field, record
from tests.support.avro_pipeline import CLICK_V1, CLICK_V2, CLICK_V3, ORDER, READING, write
from tests.support.bronze import Feeder
from tests.support.connect_avro import avro_events, avro_schema, json_events
from tests.support.tables import lane_records, rows_of

IN_SPARK, IN_DRIVER = 0, 100_000
BOTH_ENGINES = pytest.mark.parametrize("small_batch_rows", [IN_DRIVER, IN_SPARK], ids=["driver", "spark"])
CLICK_COLUMNS = ("click_id", "url", "customer_id", "channel", "score", "_rescued_data")


@pytest.fixture(scope="session")
def avro_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("avro") / "pipeline")


@pytest.fixture
def server() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry() as running:
        yield running


@pytest.fixture
def graph(avro_folder: Path, settings: Settings, server: EmbeddedRegistry, spark: SparkSession) -> Graph:
    registry = RegistrySettings(url=server.url, timeout_seconds=5)
    built = Graph.build(load(avro_folder), settings.model_copy(update={"registry": registry}))
    built.prepare(spark)
    return built


@pytest.fixture
def feeder(graph: Graph, spark: SparkSession) -> Feeder:
    return Feeder(spark, graph)


def register(server: EmbeddedRegistry, *schemas: Any) -> list[int]:
    return [server.register("clicks-value", json.dumps(schema)) for schema in schemas]


def path(graph: Graph, table: str) -> str:
    return graph.tables[table].path


def left_behind(graph: Graph, table: str) -> tuple[int, list[Any], list[Path]]:
    """Everything that a batch could have written: the table's version, its ledger, the files of its lane."""
    entries = [entry for _, entry in ledger.entries(graph.tables[table].handle())]
    lane = Path(graph.lake.errors(table))
    return graph.tables[table].version(), entries, sorted(lane.rglob("*")) if lane.exists() else []


@BOTH_ENGINES
def test_records_of_three_writers_are_rows_of_one_contract(
    small_batch_rows: int, feeder: Feeder, graph: Graph, server: EmbeddedRegistry
) -> None:
    graph.bronze["bronze.clicks"].small_batch_rows = small_batch_rows
    one, two, three = register(server, CLICK_V1, CLICK_V2, CLICK_V3)
    outcome = feeder.feed(
        "bronze.clicks",
        confluent(one, CLICK_V1, {"click_id": 1, "link": "/a", "score": 2**31 - 1}),
        confluent(two, CLICK_V2, {"click_id": 2**40, "link": "/b", "customer_id": 9}),
        confluent(
            three, CLICK_V3, {"click_id": 3, "url": "/c", "channel": "app", "experiment": {"arm": "b"}, "score": 0.1}
        ),
        confluent(one, CLICK_V1, {"click_id": 4, "link": "/d", "score": -1}),
        None,
        confluent(two, CLICK_V2, {"click_id": 5, "link": "/e", "customer_id": None}),
    )

    assert rows_of(path(graph, "bronze.clicks"), *CLICK_COLUMNS) == [
        (1, "/a", None, "web", 2147483647.0, None),
        (1099511627776, "/b", 9, "web", 0.0, None),
        # a float of 32 bits as the double that it is, not as the decimal that it was meant to be
        (3, "/c", None, "app", 0.10000000149011612, '{"experiment":{"arm":"b"}}'),
        (4, "/d", None, "web", -1.0, None),
        (5, "/e", None, "web", 0.0, None),
    ]
    entry = outcome.entry
    assert (entry.read, entry.accepted, entry.rejected, entry.dropped) == (6, 5, 0, {"tombstone": 1})
    engines = [entry.engine for _, entry in ledger.entries(graph.tables["bronze.clicks"].handle())]
    assert engines == ["driver" if small_batch_rows else "spark"]
    assert lane_records(graph.lake.errors("bronze.clicks")) == []


READINGS = [
    {
        "id": 1,
        "amount": Decimal("1234567890123456.7891"),
        "fixed_amount": Decimal("-9999999999999999.99"),
        "at": datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC),
        "at_ms": datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        "wall": datetime(2025, 11, 2, 1, 30, 0, 1),
        "day": date(2024, 2, 29),
        "noon": time(12, 0, 0, 1),
        "raw": b"\x00\xff",
        "token": "00000000-0000-0000-0000-000000000001",
        "kind": "cold",
        "mixed": "text",
        "ratio": 5e-324,
        "flag": True,
        "parts": [{"sku": "a", "n": 1}, {"sku": "b", "n": -1}],
        "labels": {"x": 2**53 + 1},
    },
    {
        "id": -(2**63),
        "amount": Decimal("-0.0001"),
        "fixed_amount": Decimal("0.00"),
        "at": datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        "at_ms": None,
        "wall": datetime(1, 1, 1),
        "day": date(1, 1, 1),
        "noon": time(23, 59, 59, 999_999),
        "raw": b"",
        "token": "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "kind": "hot",
        "mixed": 2**63 - 1,
        "ratio": -0.0,
        "flag": False,
        "parts": [],
        "labels": {},
    },
]


def as_stored(reading: dict[str, Any]) -> dict[str, Any]:
    """What has a form of its own in the columns: times of day and unions are text, a map is its entries."""
    return {
        **reading,
        "noon": reading["noon"].isoformat("microseconds"),
        "mixed": str(reading["mixed"]),
        "labels": list(reading["labels"].items()),
    }


@BOTH_ENGINES
def test_every_type_is_exact_in_its_column(
    small_batch_rows: int, feeder: Feeder, graph: Graph, server: EmbeddedRegistry
) -> None:
    graph.bronze["bronze.readings"].small_batch_rows = small_batch_rows
    [number] = register(server, READING)
    feeder.feed("bronze.readings", *(confluent(number, READING, reading) for reading in READINGS))

    assert lane_records(graph.lake.errors("bronze.readings")) == []
    found = graph.tables["bronze.readings"].handle().to_pyarrow_table().sort_by("_offset")
    rows = found.select(list(READINGS[0])).to_pylist()
    assert [{**row, "labels": list(row["labels"])} for row in rows] == [as_stored(reading) for reading in READINGS]
    assert str(rows[1]["ratio"]) == "-0.0"


NAMELESS = record("Click", field("url", "string"))
LOOSE = record("Click", field("click_id", ["null", "string", "long"]), field("url", "string"), field("score", "double"))
LIST = {"type": "array", "items": "long"}
GOOD = {"click_id": 1, "url": "/a", "score": 1.0}


def broken(server: EmbeddedRegistry) -> list[tuple[bytes, str, str]]:
    """Records, the code and the pointer that each gets."""
    loose, nameless, items = register(server, LOOSE, NAMELESS, LIST)
    not_avro = server.register("json-value", '{"type": "object"}', schemaType="JSON")
    none_at_all = server.register("wrong-value", '{"type": "rekord"}')
    sound = confluent(loose, LOOSE, GOOD)
    return [
        (b"\x00\x00\x00\x03\xe7\x02", "avro.schema_unknown", ""),
        (b"\x00\xff\xff\xff\xff\x02", "avro.schema_unknown", ""),
        (b"\x00" + not_avro.to_bytes(4, "big"), "avro.schema_unknown", ""),
        (b"\x00" + none_at_all.to_bytes(4, "big"), "avro.schema_invalid", ""),
        (b'{"click_id": 1}', "avro.magic", ""),
        (b"", "avro.magic", ""),
        (b"\x00\x00\x00", "avro.magic", ""),
        (sound[:-1], "avro.truncated", ""),
        (sound[:5], "avro.truncated", ""),
        (sound + b"\x00", "avro.trailing", ""),
        (confluent(loose, LOOSE, GOOD | {"score": float("nan")}), "avro.number", ""),
        (confluent(loose, LOOSE, GOOD | {"score": float("-inf")}), "avro.number", ""),
        (confluent(items, LIST, [1]), "json.object", ""),
        (confluent(nameless, NAMELESS, {"url": "/a"}), "schema.required", ""),
        (confluent(loose, LOOSE, GOOD | {"click_id": "1"}), "schema.type", "/click_id"),
        (confluent(loose, LOOSE, GOOD | {"click_id": None}), "schema.type", "/click_id"),
    ]


@BOTH_ENGINES
def test_what_can_not_be_read_is_in_the_lane_with_its_bytes_and_code(
    small_batch_rows: int, feeder: Feeder, graph: Graph, server: EmbeddedRegistry
) -> None:
    graph.bronze["bronze.clicks"].small_batch_rows = small_batch_rows
    wrong = broken(server)
    number = server.register("clicks-value", json.dumps(LOOSE))
    outcome = feeder.feed("bronze.clicks", *(value for value, _, _ in wrong), confluent(number, LOOSE, GOOD))

    lane = lane_records(graph.lake.errors("bronze.clicks"))
    found = [
        (base64.b64decode(one.get("value", "")), one["violations"][0]["rule"], one["violations"][0]["pointer"])
        for one in lane
    ]
    assert found == wrong
    assert rows_of(path(graph, "bronze.clicks"), *CLICK_COLUMNS) == [(1, "/a", None, "web", 1.0, None)]
    assert (outcome.entry.accepted, outcome.entry.rejected) == (1, len(wrong))


def test_the_registry_is_asked_once_for_a_schema_however_many_batches_need_it(
    feeder: Feeder, graph: Graph, server: EmbeddedRegistry
) -> None:
    one, two = register(server, CLICK_V1, CLICK_V2)
    old = confluent(one, CLICK_V1, {"click_id": 1, "link": "/a", "score": 1})
    new = confluent(two, CLICK_V2, {"click_id": 2, "link": "/b", "customer_id": None})
    feeder.feed("bronze.clicks", old, old)
    feeder.feed("bronze.clicks", old, new)
    feeder.feed("bronze.growing", new)
    step = graph.bronze["bronze.clicks"]
    step.learner.adopt(step.contract, step.table)
    feeder.feed("bronze.clicks", new, old)

    assert server.requests == [f"GET /schemas/ids/{number}" for number in (one, two)]
    assert len(rows_of(path(graph, "bronze.clicks"), "click_id")) == 6


def test_an_id_that_is_registered_late_is_known_to_the_next_batch(
    feeder: Feeder, graph: Graph, server: EmbeddedRegistry
) -> None:
    value = confluent(1, CLICK_V1, {"click_id": 1, "link": "/a", "score": 1})
    feeder.feed("bronze.clicks", value)
    assert register(server, CLICK_V1) == [1]
    feeder.feed("bronze.clicks", value)

    assert rows_of(path(graph, "bronze.clicks"), "_offset") == [(1,)]
    lane = lane_records(graph.lake.errors("bronze.clicks"))
    assert [(one["offset"], one["violations"][0]["rule"]) for one in lane] == [(0, "avro.schema_unknown")]


@BOTH_ENGINES
def test_while_the_registry_is_down_nothing_is_written_and_afterwards_the_same_batch_goes_through(
    small_batch_rows: int, feeder: Feeder, graph: Graph, server: EmbeddedRegistry
) -> None:
    graph.bronze["bronze.clicks"].small_batch_rows = small_batch_rows
    one, two = register(server, CLICK_V1, CLICK_V2)
    old = confluent(one, CLICK_V1, {"click_id": 1, "link": "/a", "score": 1})
    new = confluent(two, CLICK_V2, {"click_id": 2, "link": "/b", "customer_id": None})
    feeder.feed("bronze.clicks", old)
    server.stop()
    feeder.feed("bronze.clicks", old)  # its schema is known already
    before = left_behind(graph, "bronze.clicks")

    for _ in range(2):
        with pytest.raises(RegistryUnavailable, match="can not be reached"):
            # the second is broken whatever the registry says, and is not sent ahead to the lane
            feeder.feed("bronze.clicks", old, b"{", new)
        assert left_behind(graph, "bronze.clicks") == before

    server.start()
    outcome = feeder.feed("bronze.clicks", old, b"{", new)
    assert (outcome.entry.batch_id, outcome.entry.accepted, outcome.entry.rejected) == (2, 2, 1)
    assert rows_of(path(graph, "bronze.clicks"), "_offset", "url") == [(0, "/a"), (1, "/a"), (2, "/a"), (4, "/b")]
    assert [one["offset"] for one in lane_records(graph.lake.errors("bronze.clicks"))] == [3]


def test_a_field_that_no_contract_names_becomes_a_column_in_the_batch_that_brings_its_schema(
    feeder: Feeder, graph: Graph, server: EmbeddedRegistry
) -> None:
    [number] = register(server, CLICK_V3)
    value = {"click_id": 1, "url": "/a", "channel": "web", "experiment": {"arm": "b"}, "score": 1.0}
    feeder.feed("bronze.growing", confluent(number, CLICK_V3, value))

    columns = ("click_id", "experiment")
    assert rows_of(path(graph, "bronze.growing"), *columns) == [(1, '{"arm":"b"}')]


def test_plain_avro_is_read_with_the_schema_that_the_spec_names(
    feeder: Feeder, graph: Graph, server: EmbeddedRegistry
) -> None:
    sound = body(ORDER, {"order_id": 7, "note": "blue"})
    feeder.feed(
        "bronze.plain_orders", sound, None, sound[:-1], sound + b"\x00", body(ORDER, {"order_id": 8, "note": None}), b""
    )

    assert rows_of(path(graph, "bronze.plain_orders"), "_offset", "order_id", "note") == [(0, 7, "blue"), (4, 8, None)]
    lane = lane_records(graph.lake.errors("bronze.plain_orders"))
    assert [(one["offset"], one["violations"][0]["rule"]) for one in lane] == [
        (2, "avro.truncated"),
        (3, "avro.trailing"),
        (5, "avro.truncated"),
    ]
    assert server.requests == []


@pytest.mark.parametrize("table", ["bronze.orders", "bronze.orders_whole"], ids=["row", "envelope"])
def test_a_debezium_feed_in_avro_gives_the_rows_of_the_same_feed_in_json(
    table: str, feeder: Feeder, graph: Graph, server: EmbeddedRegistry
) -> None:
    number = server.register("shop.public.orders-value", json.dumps(avro_schema()))
    as_avro = feeder.feed(table, *avro_events(number))
    as_json = feeder.feed("bronze.orders_json", *json_events())

    names = ("before", "after", "source", "op", "ts_ms", "_offset", "_source_position", "_rescued_data")
    rows = rows_of(path(graph, table), *names)
    assert rows == rows_of(path(graph, "bronze.orders_json"), *names)
    assert [row[3] for row in sorted(rows, key=lambda row: row[5])] == ["r", "r", "c", "u", "d", "t"]
    for outcome in (as_avro, as_json):
        entry = outcome.entry
        assert (entry.read, entry.accepted, entry.rejected, entry.dropped) == (7, 6, 0, {"tombstone": 1})
    paid = next(row for row in rows if row[3] == "u")
    assert (paid[0]["amount"], paid[1]["amount"], paid[1]["rate"], paid[1]["photo"]) == (
        Decimal("12.50"),
        Decimal("13.00"),
        Decimal("1E-10"),
        b"\x00\xff",
    )
