"""The pipeline that is measured: one bronze table of orders by Debezium, under a contract as a user would write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TABLE = "bronze.orders"

CONTRACT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A row of the orders table",
    "x-version": "1",
    "type": "object",
    "required": [
        "order_id",
        "customer_id",
        "sku",
        "quantity",
        "amount",
        "currency",
        "status",
        "email",
        "is_gift",
        "order_ts",
    ],
    "properties": {
        "order_id": {"type": ["integer", "null"], "minimum": 1},
        "customer_id": {"type": "integer", "minimum": 1},
        "sku": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{6}$"},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 10000},
        "amount": {"type": "string", "pattern": "^[0-9]{1,16}(\\.[0-9]{1,2})?$"},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "status": {"enum": ["placed", "paid", "shipped", "delivered", "returned", "cancelled"]},
        "email": {"type": "string", "maxLength": 320, "format": "email"},
        "is_gift": {"type": "boolean"},
        "discount": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "order_ts": {"type": "string", "format": "date-time"},
        "note": {"type": ["string", "null"], "maxLength": 500},
    },
}

_SPEC = """\
table: {table}
source: {{topic: {topic}, format: debezium-json, source_system: shop}}
contract: orders
keys: [order_id]
"""


def write(folder: Path, topic: str) -> Path:
    """The folder of the pipeline that reads `topic`."""
    (folder / "contracts").mkdir(parents=True, exist_ok=True)
    (folder / "tables").mkdir(exist_ok=True)
    (folder / "contracts" / "orders.schema.json").write_text(json.dumps(CONTRACT, indent=2))
    (folder / "tables" / f"{TABLE}.yml").write_text(_SPEC.format(table=TABLE, topic=topic))
    return folder
