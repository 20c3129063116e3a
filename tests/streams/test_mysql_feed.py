"""MySQL's envelopes through bronze, silver and the versions: whole tables, in whatever order and batches they come.

They are written by hand, for what test_mariadb_feed.py's recording does not have: binlog numbers of seven digits, and
columns that a server leaves out of its binlog.

The events are those of `debezium_mysql.json`, a second apart, with some more made of them: a row from before the
snapshot that the snapshot lacks, an update by a server that leaves unchanged columns out of its binlog, and an insert
after the TRUNCATE, whose binlog has a seventh digit.
"""

from __future__ import annotations

import copy
import json
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from checkpoints.lake import Lake
from schemas.loader import load
from schemas.settings import Settings
from schemas.unavailable import PLACEHOLDER
from streams.graph import Graph
from tests.schemas.test_debezium import CUSTOMERS
from tests.support.bronze import Feeder
from tests.support.connect_avro import recorded
from tests.support.tables import lane_records, rows_of

MYSQL = recorded("debezium_mysql.json")
BEGIN_MS = 1_795_410_778_000
FEED = """
from: bronze.customers
keys: [id]
sequence_by: [_source_position]
apply_as_deletes: "op = 'd'"
apply_as_truncates: "op = 't'"
select:
"""
SPECS = {
    "bronze.customers": """
table: bronze.customers
source: {topic: shop.shop.customers, format: debezium-json, source_system: shop}
contract: customers
keys: [id]
""",
    "silver.customers": "table: silver.customers\nstored_as_scd_type: 1"
    + FEED
    + "".join(f"  {name}: after.{name}\n" for name in CUSTOMERS["properties"]),
    "silver.customers_history": "table: silver.customers_history\nstored_as: history"
    + FEED
    + "  id: after.id\n  name: after.name\n  email: after.email\n  at: timestamp_millis(source.ts_ms)\n",
    "gold.dim_customer": """
table: gold.dim_customer
from: silver.customers_history
keys: [id]
stored_as_scd_type: 2
surrogate_key: customer_sk
valid_from: at
first_version: valid_from
track_history_except_column_list: [at]
""",
}

REST = (
    Decimal("123.45"),
    date(1996, 1, 1),
    datetime(2026, 11, 23, 5, 12, 57),
    datetime(2026, 11, 23, 5, 12, 57, tzinfo=UTC),
    2026,
    "busy",
    "mon,tue",
    -3_020_399_000_000,
)
# id, name, email; from and to in seconds of the day's events
Row = tuple[int, str, str | None]
Version = tuple[int, str, str | None, int, int | None]
ROWS: list[Row] = [(1, "Anna", None), (3, "Cyd", None), (4, "Dee", "di@example.org")]
VERSIONS: list[Version] = [
    (1, "Ann", None, 1, 5),
    (1, "Anna", None, 5, None),
    (2, "Bob", None, 2, 6),
    (3, "Cy", None, 3, 7),
    (3, "Cyd", None, 7, None),
    (4, "Di", None, 4, 9),  # the incremental snapshot read it as it was
    (4, "Di", "di@example.org", 9, 10),
    (4, "Dee", "di@example.org", 10, None),
    (7, "Gus", None, 0, 2),  # until the snapshot that lacks it
]
ROWS_AFTER_TRUNCATE: list[Row] = [(5, "Eve", None)]
VERSIONS_AFTER_TRUNCATE: list[Version] = [
    *((key, name, email, start, 11 if end is None else end) for key, name, email, start, end in VERSIONS),
    (5, "Eve", None, 12, None),
]


def made(like: dict[str, Any], file: str, pos: int, **row: Any) -> dict[str, Any]:
    event = copy.deepcopy(like)
    event["source"] |= {"file": file, "pos": pos, "row": 0}
    event["after"] |= row
    return event


def events(*, with_truncate: bool) -> list[Any]:
    """In the order of the source, each a second after the one before it; what is about no row at the end."""
    tombstone = None
    *changes, truncate = [one for one in MYSQL["payloads"] if one is not tombstone]
    create, update = changes[2], changes[4]
    found = [
        made(create, "mysql-bin.000008", 9_000, id=7, name="Gus"),
        *changes,
        made(update, "mysql-bin.000010", 600, id=4, name="Di", email="di@example.org"),
        made(update, "mysql-bin.000010", 700, id=4, name="Dee", email=PLACEHOLDER),
    ]
    if with_truncate:
        found += [truncate, made(create, "mysql-bin.1000000", 900, id=5, name="Eve")]
    found = copy.deepcopy(found)
    for second, event in enumerate(found):
        event["source"]["ts_ms"] = BEGIN_MS + 1_000 * second
    return [*found, tombstone, *MYSQL["heartbeats"], *MYSQL["transactions"], *MYSQL["schema_changes"]]


def in_order(records: list[Any]) -> list[list[Any]]:
    return [records]


def backwards(records: list[Any]) -> list[list[Any]]:
    turned = records[::-1]
    return [turned[start : start + 5] for start in range(0, len(turned), 5)]


def shuffled_with_copies(records: list[Any]) -> list[list[Any]]:
    order = [*records, *records[::2]]
    random.Random(3).shuffle(order)
    return [order[:7], order[7:9], order[9:]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline: a bronze table, current rows, a history and its versions."""
    folder = tmp_path_factory.mktemp("mysql")
    for name in ("contracts", "tables"):
        (folder / name).mkdir()
    contract = {"$schema": "https://json-schema.org/draft/2020-12/schema", **CUSTOMERS}
    (folder / "contracts" / "customers.schema.json").write_text(json.dumps(contract))
    for name, text in SPECS.items():
        (folder / "tables" / f"{name}.yml").write_text(text.lstrip())
    return folder


@pytest.mark.parametrize("with_truncate", [False, True], ids=["without a truncate", "with a truncate"])
@pytest.mark.parametrize("delivered", [in_order, backwards, shuffled_with_copies])
def test_mysql_events_make_the_same_tables_in_any_order(
    delivered: Any, with_truncate: bool, folder: Path, settings: Settings, spark: SparkSession
) -> None:
    graph = Graph.build(load(folder), settings)
    graph.prepare(spark)
    feeder = Feeder(spark, graph)

    for batch in delivered(events(with_truncate=with_truncate)):
        feeder.feed_and_drive("bronze.customers", *batch)

    lake = Lake.at(settings.lake)
    rows, versions = (ROWS_AFTER_TRUNCATE, VERSIONS_AFTER_TRUNCATE) if with_truncate else (ROWS, VERSIONS)
    assert rows_of(lake.table("silver.customers"), *CUSTOMERS["properties"]) == [(*row, *REST) for row in rows]
    columns = ("id", "name", "email", "valid_from", "valid_to", "is_current")
    assert rows_of(lake.table("gold.dim_customer"), *columns) == sorted(
        [(*row, at(start), at(end), end is None) for *row, start, end in versions], key=repr
    )
    for table in ("bronze.customers", "silver.customers", "silver.customers_history"):
        assert lane_records(lake.errors(table)) == []


def at(second: int | None) -> datetime | None:
    return None if second is None else datetime.fromtimestamp(BEGIN_MS / 1_000, UTC) + timedelta(seconds=second)
