"""A small pipeline that is right, to break in one place."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

CONTRACT = {
    "type": "object",
    "properties": {
        "customer_id": {"type": "integer"},
        "email": {"type": "string"},
        "address": {"type": "object", "properties": {"city": {"type": "string"}}},
        "items": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}

FILES = {
    "contracts/customers.schema.json": json.dumps(CONTRACT, indent=2),
    "contracts/rates.schema.json": ('{"properties": {\n"currency": {"type": "string"},\n"rate": {"type": "number"}}}'),
    "tables/bronze.customers.yml": """
        table: bronze.customers
        source:
          topic: shop.public.customers
          format: debezium-json
        contract: customers
        keys: [customer_id]
        """,
    "tables/bronze.rates.yml": """
        table: bronze.rates
        source: {topic: rates, format: json}
        contract: rates
        keys: [currency]
        """,
    "tables/silver.customers.yml": """
        table: silver.customers
        from: bronze.customers
        keys: [customer_id]
        sequence_by: [_source_position]
        apply_as_deletes: "op = 'd'"
        stored_as_scd_type: 1
        select:
          customer_id: after.customer_id
          email: lower(after.email)
          city: after.address.city
        """,
    "tables/silver.customers_history.yml": """
        table: silver.customers_history
        from: bronze.customers
        keys: [customer_id]
        sequence_by: [_source_position]
        stored_as: history
        select:
          customer_id: after.customer_id
          email: after.email
          changed_at: timestamp_millis(source.ts_ms)
        """,
    "tables/silver.rates.yml": """
        table: silver.rates
        from: bronze.rates
        keys: [currency]
        sequence_by: [_source_position]
        stored_as_scd_type: 1
        select:
          currency: currency
          rate: rate
        """,
    "tables/gold.dim_customer.yml": """
        table: gold.dim_customer
        from: silver.customers_history
        keys: [customer_id]
        stored_as_scd_type: 2
        surrogate_key: customer_sk
        valid_from: changed_at
        """,
    "tables/gold.cities.yml": """
        table: gold.cities
        grain: [customer_id]
        query: |
          SELECT c.customer_id, c.city, d.customer_sk
          FROM silver.customers c
          JOIN gold.dim_customer d ON c.customer_id = d.customer_id AND d.is_current
        affected_by:
          silver.customers: customer_id
          gold.dim_customer: customer_id
        """,
}


def write(folder: Path, files: Mapping[str, str | bytes | None]) -> Path:
    """Write the small pipeline with `files` changed: added, replaced, or left out where None."""
    for name, text in {**FILES, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            path.write_bytes(text)
        elif text is not None:
            path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return folder


def changed(name: str, old: str, new: str) -> dict[str, str]:
    """The file `name` of the small pipeline with `old` replaced by `new`."""
    assert FILES[name].count(old) == 1, (name, old)
    return {name: FILES[name].replace(old, new)}
