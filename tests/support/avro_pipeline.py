"""A small pipeline of Avro topics beside a JSON one.

Its contracts are what `sluice contract infer` makes of the schemas of today; CLICK_V1 to CLICK_V3 are those that the
producers of `clicks` have had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.infer import contract_of
from schemas.infer_avro import infer_avro
from tests.support.avro import field, logical, record
from tests.support.connect_avro import avro_schema

NULLABLE_LONG = ["null", "long"]


CHANNEL = {"type": "enum", "name": "Channel", "symbols": ["web", "app"]}

CLICK = record(
    "Click",
    field("click_id", "long"),
    field("url", "string", aliases=["link"]),
    field("customer_id", NULLABLE_LONG, default=None),
    field("channel", CHANNEL, default="web"),
    field("score", "double", default=0.0),
)
CLICK_V1 = record("Click", field("click_id", "int"), field("link", "string"), field("score", "int"))
CLICK_V2 = record(
    "Click", field("click_id", "long"), field("link", "string"), field("customer_id", NULLABLE_LONG, default=None)
)
CLICK_V3 = record(
    "Click",
    field("click_id", "long"),
    field("url", "string"),
    field("customer_id", NULLABLE_LONG, default=None),
    field("channel", CHANNEL),
    field("experiment", ["null", record("Experiment", field("arm", "string"))], default=None),
    field("score", "float"),
)

READING = record(
    "Reading",
    field("id", "long"),
    field("amount", logical("bytes", "decimal", precision=20, scale=4)),
    field("fixed_amount", logical("fixed", "decimal", name="Amount", size=8, precision=18, scale=2)),
    field("at", logical("long", "timestamp-micros")),
    field("at_ms", ["null", logical("long", "timestamp-millis")]),
    field("wall", logical("long", "local-timestamp-micros")),
    field("day", logical("int", "date")),
    field("noon", logical("long", "time-micros")),
    field("raw", "bytes"),
    field("token", logical("string", "uuid")),
    field("kind", {"type": "enum", "name": "Kind", "symbols": ["hot", "cold"]}),
    field("mixed", ["null", "long", "string"]),
    field("ratio", "double"),
    field("flag", "boolean"),
    field("parts", {"type": "array", "items": record("Part", field("sku", "string"), field("n", "int"))}),
    field("labels", {"type": "map", "values": "long"}),
)

ORDER = record("Order", field("order_id", "long"), field("note", ["null", "string"], default=None))

_JSON_CONTRACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["rate_id"],
    "properties": {"rate_id": {"type": "integer"}, "rate": {"type": ["number", "null"]}},
}

SPECS = {
    "bronze.clicks": """
table: bronze.clicks
source: {topic: clicks, format: avro, source_system: website}
contract: clicks
keys: [click_id]
""",
    "bronze.readings": """
table: bronze.readings
source: {topic: readings, format: avro}
contract: readings
""",
    "bronze.plain_orders": """
table: bronze.plain_orders
source: {topic: plain_orders, format: avro, encoding: plain, writer_schema: order.avsc}
contract: order
keys: [order_id]
""",
    "bronze.growing": """
table: bronze.growing
source: {topic: growing, format: avro}
contract: clicks
schema_change: evolve
""",
    "bronze.orders": """
table: bronze.orders
source: {topic: shop.public.orders, format: debezium-avro, source_system: shop}
contract: orders
keys: [order_id]
""",
    "bronze.orders_whole": """
table: bronze.orders_whole
source: {topic: shop.whole.orders, format: debezium-avro, source_system: shop}
contract: orders_envelope
contract_describes: envelope
keys: [order_id]
""",
    "bronze.orders_json": """
table: bronze.orders_json
source: {topic: shop.json.orders, format: debezium-json, source_system: shop}
contract: orders
keys: [order_id]
""",
    "bronze.rates": """
table: bronze.rates
source: {topic: rates, format: json}
contract: rates
keys: [rate_id]
""",
}


def contract(schema: Mapping[str, Any], title: str, *, is_debezium: bool = False) -> dict[str, Any]:
    """The contract that `sluice contract infer` prints."""
    return contract_of(infer_avro(json.dumps(schema), is_debezium=is_debezium).schema, title)


def write(folder: Path, *tables: str) -> Path:
    """The pipeline's folder with these tables, all of SPECS where none are named."""
    (folder / "contracts").mkdir(parents=True)
    (folder / "tables").mkdir()
    contracts = {
        "clicks": contract(CLICK, "clicks"),
        "readings": contract(READING, "readings"),
        "order": contract(ORDER, "order"),
        "orders": contract(avro_schema(), "orders", is_debezium=True),
        "orders_envelope": contract(avro_schema(), "orders_envelope"),
        "rates": _JSON_CONTRACT,
    }
    chosen = {name: text for name, text in SPECS.items() if not tables or name in tables}
    for name, text in contracts.items():
        if any(f"contract: {name}\n" in spec for spec in chosen.values()):
            (folder / "contracts" / f"{name}.schema.json").write_text(json.dumps(text))
    (folder / "contracts" / "order.avsc").write_text(json.dumps(ORDER))
    for name, text in chosen.items():
        (folder / "tables" / f"{name}.yml").write_text(text.lstrip())
    return folder
