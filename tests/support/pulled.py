"""A pipeline whose one source is a table of PostgreSQL, pulled by its watermark."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
from pydantic import SecretStr

from schemas.settings import Settings, SourceSettings

CONTRACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["id", "updated_at"],
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": ["string", "null"], "maxLength": 10},
        "price": {"type": ["number", "null"], "x-decimal": "12,2"},
        "updated_at": {"type": "string", "format": "date-time"},
    },
}
SPECS = {
    "bronze.items": """
table: bronze.items
source:
  source_system: warehouse
  jdbc:
    source: warehouse
    table: public.items
    watermark_column: updated_at
    watermark_state_key: items
    lookback_seconds: 60
    poll_seconds: 0.5
    batch_rows: 100
contract: items
keys: [id]
""",
    "silver.items": """
table: silver.items
from: bronze.items
keys: [id]
sequence_by: [_source_position]
stored_as_scd_type: 1
select: {id: id, name: name, price: "CAST(price AS DECIMAL(12, 2))", updated_at: try_to_timestamp(updated_at)}
""",
    "gold.items_per_name": """
table: gold.items_per_name
grain: [name]
query: SELECT name, count(*) AS items FROM silver.items GROUP BY name
affected_by: {silver.items: name}
""",
}
TABLE = "CREATE TABLE items (id bigint PRIMARY KEY, name text, price numeric(12, 2), updated_at timestamptz)"


def write(folder: Path) -> Path:
    (folder / "contracts").mkdir(parents=True)
    (folder / "tables").mkdir()
    (folder / "contracts" / "items.schema.json").write_text(json.dumps(CONTRACT))
    for name, text in SPECS.items():
        (folder / "tables" / f"{name}.yml").write_text(text.lstrip())
    return folder


def database(dsn: str, **more: object) -> SourceSettings:
    """How the settings say where this PostgreSQL is."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return SourceSettings.model_validate(
        {
            "host": parts["host"],
            "port": int(parts["port"] or 5432),
            "database": parts["dbname"],
            "user": parts["user"],
            "password": SecretStr(str(parts.get("password", ""))),
            **more,
        }
    )


def with_database(settings: Settings, dsn: str, **more: object) -> Settings:
    return settings.model_copy(update={"sources": {"warehouse": database(dsn, **more)}})
