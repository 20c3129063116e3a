"""What a real Debezium recorded of a real MariaDB, through bronze, silver and the versions: any order, whole tables."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from checkpoints.lake import Lake
from schemas.loader import load
from schemas.settings import Settings
from streams.graph import Graph
from tests.schemas.test_debezium import CUSTOMERS
from tests.streams.test_mysql_feed import SPECS, backwards, in_order, shuffled_with_copies
from tests.support import kinds
from tests.support.bronze import Feeder
from tests.support.connect_avro import recorded
from tests.support.tables import lane_records, rows_of

MARIADB = recorded("debezium_mariadb.json")
TIME = "io.debezium.time"
CONTRACT = CUSTOMERS | {
    "properties": CUSTOMERS["properties"]
    | {
        "balance": {"type": ["string", "null"], "x-debezium": kinds.DECIMAL, "x-type": "decimal(8,2)"},
        "stamp6": {"type": ["integer", "null"], "x-debezium": f"{TIME}.MicroTimestamp"},
        "doc": {"type": ["string", "null"]},
        "bits": {"type": ["string", "null"], "x-debezium": "io.debezium.data.Bits"},
        "ratio": {"type": ["number", "null"]},
        "yes": {"type": ["integer", "null"]},
    }
}
for _name in ("born", "seen_at", "changed_at", "closed_on", "mood", "days", "opens"):
    _field = CONTRACT["properties"][_name]
    CONTRACT["properties"][_name] = _field | {"type": [_field["type"], "null"]}
COLUMNS = tuple(CONTRACT["properties"])
ANN: tuple[Any, ...] = (
    None,
    Decimal("123.45"),
    date(1996, 1, 1),
    datetime(2026, 11, 23, 5, 12, 57),
    datetime(2026, 11, 23, 5, 12, 57, tzinfo=UTC),
    2026,
    "busy",
    "mon,tue",
    -3_020_399_000,
    datetime(2026, 11, 23, 5, 12, 57, 123_456),
    '{"a": 1}',
    b"\x0a",
    0.1,
    1,
)


def bare(balance: str | None = None) -> tuple[Any, ...]:
    return (None, None if balance is None else Decimal(balance), *[None] * (len(ANN) - 2))


ROWS = [(1, "Anna", *ANN), (3, "Cyd", *bare("1.50")), (6, "Di", *bare("-2.25"))]
VERSIONS = [
    (1, "Ann", False),
    (1, "Anna", True),
    (2, "Bob", False),
    (3, "Cy", False),
    (3, "Cyd", True),
    (4, "Di", False),
    (6, "Di", True),
]


def events(*, with_truncate: bool) -> list[Any]:
    """As they were recorded, what is about no row at the end; in their seconds, since versions begin at them."""
    changes = MARIADB["payloads"] if with_truncate else MARIADB["payloads"][:-2]
    made = [json.loads(json.dumps(one)) for one in changes]
    for second, event in enumerate(one for one in made if one is not None):
        event["source"]["ts_ms"] += 1_000 * second
    return [*made, *MARIADB["heartbeats"], *MARIADB["transactions"], *MARIADB["schema_changes"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mariadb")
    for name in ("contracts", "tables"):
        (folder / name).mkdir()
    contract = {"$schema": "https://json-schema.org/draft/2020-12/schema", **CONTRACT}
    (folder / "contracts" / "customers.schema.json").write_text(json.dumps(contract))
    for name, text in SPECS.items():
        if name == "silver.customers":
            more = [one for one in COLUMNS if one not in CUSTOMERS["properties"]]
            text = text + "".join(f"  {one}: after.{one}\n" for one in more)
        (folder / "tables" / f"{name}.yml").write_text(text.lstrip())
    return folder


@pytest.mark.parametrize("with_truncate", [False, True], ids=["without a truncate", "with a truncate"])
@pytest.mark.parametrize("delivered", [in_order, backwards, shuffled_with_copies])
def test_recorded_events_make_the_same_tables_in_any_order(
    delivered: Any, with_truncate: bool, folder: Path, settings: Settings, spark: SparkSession
) -> None:
    graph = Graph.build(load(folder), settings)
    graph.prepare(spark)
    feeder = Feeder(spark, graph)

    for batch in delivered(events(with_truncate=with_truncate)):
        feeder.feed_and_drive("bronze.customers", *batch)

    lake = Lake.at(settings.lake)
    rows = [(5, "Eve", *bare())] if with_truncate else ROWS
    versions = [(*row[:2], False) for row in VERSIONS] + [(5, "Eve", True)] if with_truncate else VERSIONS
    assert rows_of(lake.table("silver.customers"), *COLUMNS) == rows
    assert rows_of(lake.table("gold.dim_customer"), "id", "name", "is_current") == sorted(versions, key=repr)
    for table in ("bronze.customers", "silver.customers", "silver.customers_history"):
        assert lane_records(lake.errors(table)) == []
