"""A pipeline whose contract tags what is personal, records that are full of canaries, and where they may be found."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.support.bronze import change

KEY = "a-key-that-is-a-canary-itself-6f1d2b"
CANARY = "canary"
"""What every value of a tagged field has in it, in upper or lower case."""

_TEXT: dict[str, Any] = {"type": ["string", "null"], "x-pii": True}
CONTRACT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "x-version": "1",
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "x-pii": True},
        "email": {**_TEXT, "maxLength": 60},
        "name": _TEXT,
        "phone": _TEXT,
        "born": _TEXT,
        "note": _TEXT,
        "home": {
            "type": ["object", "null"],
            "properties": {"street": _TEXT, "country": {"type": ["string", "null"]}},
        },
        "tier": {"type": ["string", "null"]},
    },
}
_SELECT = """\
select:
  id: after.id
  email: lower(after.email)
  name: upper(after.name)
  phone: after.phone
  born: try_to_timestamp(after.born)
  street: array(after.home.street)
  country: after.home.country
  tier: after.tier
"""
PII = "pii: {id: hash, email: hash, name: mask, phone: drop, born: mask, street: mask}\n"
FEED = """\
from: bronze.people
keys: [id]
sequence_by: [_source_position]
apply_as_deletes: "op = 'd'"
apply_as_truncates: "op = 't'"
schema_change: evolve
"""
SPECS = {
    "bronze.people": """\
table: bronze.people
source: {topic: db.people, format: debezium-json, source_system: town}
contract: people
keys: [id]
schema_change: evolve
""",
    "silver.people": f"table: silver.people\n{FEED}stored_as_scd_type: 1\n{_SELECT}",
    "silver.people_history": f"table: silver.people_history\n{FEED}stored_as: history\n"
    f"{_SELECT}  at: timestamp_millis(source.ts_ms)\n",
    "gold.dim_person": """\
table: gold.dim_person
from: silver.people_history
keys: [id]
stored_as_scd_type: 2
surrogate_key: person_sk
valid_from: at
track_history_except_column_list: [at]
""",
    "gold.tiers": """\
table: gold.tiers
grain: [email]
query: SELECT email, max(name) AS name, max(tier) AS tier FROM silver.people WHERE email IS NOT NULL GROUP BY email
affected_by: {silver.people: email}
""",
}
RULE = {"type": "expect_column_values_to_not_be_null", "column": "email", "severity": "critical"}


def write(folder: Path, pii: str = PII, *, without_gold: bool = False) -> Path:
    """The pipeline's folder."""
    (folder / "contracts").mkdir(parents=True)
    (folder / "tables").mkdir()
    (folder / "contracts" / "people.schema.json").write_text(json.dumps(CONTRACT))
    for name, text in SPECS.items():
        if without_gold and name.startswith("gold."):
            continue
        decisions = pii if name.startswith("silver.") else ""
        (folder / "tables" / f"{name}.yml").write_text(text + decisions)
    rules = {"silver.people": [RULE], "silver.people_history": [RULE]}
    (folder / "dq.yml").write_text(json.dumps(rules))
    return folder


def person(number: int, **changed: Any) -> dict[str, Any]:
    """A row in which every tagged field has a canary of its own."""
    fields = {name: f"{CANARY}-{name}-{number}" for name in ("email", "name", "phone", "note")}
    born = f"2026-01-{number:02} {CANARY}" if number % 2 else f"2026-01-{number:02}"
    home = {"street": f"{CANARY}-street-{number}", "country": "NO"}
    return {"id": identity(number), **fields, "born": born, "home": home, "tier": "gold", **changed}


def identity(number: int) -> str:
    return f"{CANARY}-id-{number}"


def batches() -> list[list[Any]]:
    """Records of every fate: taken, changed, deleted; rejected by contract or rule; unreadable; with new fields."""
    no_email, too_long = person(3, email=None), person(4, email=f"{CANARY}-too-long-{'x' * 60}")
    return [
        [
            change("c", person(1), 1, 1000),
            change("c", person(2), 2, 2000),
            change("c", no_email, 3, 3000),
            change("c", too_long, 4, 4000),
            b'{"op": "c", "after": {"email": "' + CANARY.encode(),
            change("c", person(5), 5, 5000),
        ],
        [
            change("u", person(1, name="Canary the Second", tier="silver"), 6, 6000, before=person(1)),
            change("d", None, 7, 7000, before=person(2)),
            change("c", person(6, age=36, home={"street": f"{CANARY}-street-6", "country": "NO", "flat": 3}), 8, 8000),
            None,
            change("x", person(7), 9, 9000),
        ],
        [change("u", person(5, email=f"{CANARY.upper()}-EMAIL-5"), 10, 10_000, before=person(5))],
    ]


def exposed(text: str | bytes) -> bool:
    """Whether a canary stands in a text, as it is or in base64."""
    raw = text.encode() if isinstance(text, str) else text
    if CANARY.encode() in raw.lower():
        return True
    for run in re.findall(rb"[A-Za-z0-9+/]{8,}", raw):
        for start in range(4):
            part = run[start : start + (len(run) - start) // 4 * 4]
            if CANARY.encode() in base64.b64decode(part).lower():
                return True
    return False


def exposing(lake: Path) -> Iterator[str]:
    """The files below a lake in which a canary stands, Parquet decoded; those of bronze hold them by design."""
    for file in sorted(one for one in lake.rglob("*") if one.is_file()):
        path = file.relative_to(lake).as_posix()
        if path.startswith(("bronze/", "_errors/bronze/")):
            continue
        decoded = str(pq.read_table(file).to_pylist()) if file.suffix == ".parquet" else ""
        if exposed(file.read_bytes()) or exposed(decoded):
            yield path
