"""The pipelines of the common workloads, as a user would write them: contract, bronze, silver, and a dimension."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ORDERS, ORDERS_NOW = "bronze.orders", "silver.orders"
CUSTOMERS, CUSTOMERS_HISTORY, CUSTOMERS_VERSIONS = "bronze.customers", "silver.customers_history", "gold.dim_customer"

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_CONTRACTS: dict[str, dict[str, Any]] = {
    "orders": {
        "order_id": {"type": "integer", "minimum": 0},
        "customer_id": {"type": "integer", "minimum": 0},
        "product_id": {"type": "integer", "minimum": 0},
        "qty": {"type": "integer", "minimum": 1},
        "amount": {"type": "string", "pattern": "^[0-9]{1,16}(\\.[0-9]{1,2})?$"},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "status": {"enum": ["new", "paid", "shipped", "returned"]},
        "order_ts": {"type": "integer", "minimum": 0},
    },
    "customers": {
        "customer_id": {"type": "integer", "minimum": 0},
        "name": {"type": "string", "maxLength": 200},
        "email": {"type": "string", "maxLength": 320, "format": "email"},
        "tier": {"enum": ["bronze", "silver", "gold"]},
        "city": {"type": "string", "maxLength": 100},
        "updated_at": {"type": "integer", "minimum": 0},
    },
}
_ORDERS = {
    ORDERS: """\
source: {topic: orders, format: debezium-json, source_system: shop}
contract: orders
keys: [order_id]
""",
    ORDERS_NOW: """\
from: bronze.orders
keys: [order_id]
sequence_by: [_source_position]
apply_as_deletes: "op = 'd'"
stored_as_scd_type: 1
select:
  order_id: after.order_id
  customer_id: after.customer_id
  product_id: after.product_id
  qty: after.qty
  amount: try_cast(after.amount AS DECIMAL(18, 2))
  currency: after.currency
  status: after.status
  order_ts: timestamp_micros(after.order_ts)
  lsn: source.lsn
""",
}
_CUSTOMERS = {
    CUSTOMERS: """\
source: {topic: customers, format: debezium-json, source_system: shop}
contract: customers
keys: [customer_id]
""",
    CUSTOMERS_HISTORY: """\
from: bronze.customers
keys: [customer_id]
sequence_by: [_source_position]
apply_as_deletes: "op = 'd'"
stored_as: history
select:
  customer_id: after.customer_id
  name: after.name
  email: after.email
  tier: after.tier
  city: after.city
  updated_at: timestamp_micros(after.updated_at)
  changed_at: timestamp_millis(source.ts_ms)
""",
    CUSTOMERS_VERSIONS: """\
from: silver.customers_history
keys: [customer_id]
stored_as_scd_type: 2
surrogate_key: customer_sk
valid_from: changed_at
first_version: valid_from
track_history_except_column_list: [changed_at]
""",
}


def write_orders(folder: Path) -> Path:
    """Orders by Debezium, and their current state."""
    return _write(folder, "orders", _ORDERS)


def write_customers(folder: Path) -> Path:
    """Customers by Debezium, every change of them, and their versions."""
    return _write(folder, "customers", _CUSTOMERS)


def _write(folder: Path, contract: str, specs: dict[str, str]) -> Path:
    properties = _CONTRACTS[contract]
    schema = {
        "$schema": _DRAFT,
        "title": f"A row of the {contract} table",
        "x-version": "1",
        "type": "object",
        "required": list(properties),
        "properties": properties,
    }
    (folder / "contracts").mkdir(parents=True)
    (folder / "tables").mkdir()
    (folder / "contracts" / f"{contract}.schema.json").write_text(json.dumps(schema, indent=2))
    for table, text in specs.items():
        (folder / "tables" / f"{table}.yml").write_text(f"table: {table}\n{text}")
    return folder
