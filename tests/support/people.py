"""A small pipeline for tests: people by Debezium, their current rows, their history and versions, and their visits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONTRACT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "x-version": "3",
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": ["string", "null"], "maxLength": 20},
        "home": {"type": ["object", "null"], "properties": {"city": {"type": ["string", "null"]}}},
    },
}
VISITS_CONTRACT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["visit", "person", "at"],
    "properties": {"visit": {"type": "integer"}, "person": {"type": ["integer", "null"]}, "at": {"type": "string"}},
}
SPECS = {
    "bronze.people": """
table: bronze.people
source: {topic: db.people, format: debezium-json, source_system: town}
contract: people
keys: [id]
""",
    "silver.people": """
table: silver.people
from: bronze.people
keys: [id]
sequence_by: [_source_position]
apply_as_deletes: "op = 'd'"
apply_as_truncates: "op = 't'"
stored_as_scd_type: 1
select: {id: after.id, name: upper(after.name), city: after.home.city}
""",
    "silver.people_history": """
table: silver.people_history
from: bronze.people
keys: [id]
sequence_by: [_source_position]
apply_as_deletes: "op = 'd'"
apply_as_truncates: "op = 't'"
stored_as: history
select: {id: after.id, name: upper(after.name), at: timestamp_millis(source.ts_ms)}
""",
    "gold.dim_person": """
table: gold.dim_person
from: silver.people_history
keys: [id]
stored_as_scd_type: 2
surrogate_key: person_sk
valid_from: at
track_history_except_column_list: [at]
""",
    "bronze.visits": """
table: bronze.visits
source: {topic: visits, format: json}
contract: visits
keys: [visit]
""",
    "silver.visits": """
table: silver.visits
from: bronze.visits
keys: [visit]
sequence_by: [_source_position]
apply_as_deletes: "person IS NULL"
stored_as_scd_type: 1
select: {visit: visit, person: person, at: try_to_timestamp(at)}
""",
    "gold.fact_visits": """
table: gold.fact_visits
grain: [visit]
query: |
  SELECT v.visit, v.person AS id, p.name, v.at
  FROM silver.visits v LEFT JOIN gold.dim_person p
    ON v.person = p.id AND v.at >= p.valid_from AND v.at < coalesce(p.valid_to, TIMESTAMP '9999-01-01')
affected_by: {silver.visits: visit, gold.dim_person: id}
""",
    "gold.visits_per_person": """
table: gold.visits_per_person
grain: [person]
query: SELECT person, count(*) AS visits FROM silver.visits GROUP BY person
affected_by: {silver.visits: person}
""",
}


def write(folder: Path, *, without_gold: bool = False) -> Path:
    """The pipeline's folder."""
    (folder / "contracts").mkdir(parents=True)
    (folder / "tables").mkdir()
    for name, contract in (("people", CONTRACT), ("visits", VISITS_CONTRACT)):
        (folder / "contracts" / f"{name}.schema.json").write_text(json.dumps(contract))
    for name, text in SPECS.items():
        if without_gold and name.startswith("gold."):
            continue
        (folder / "tables" / f"{name}.yml").write_text(text.lstrip())
    return folder


def person(id_: int | None, name: str | None = None, city: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": id_, "name": name, "home": {"city": city}, **more}
