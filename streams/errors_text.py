"""Rejected records and their cohorts as text for a terminal, and as JSON for programs."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from sinks.lanes.reader import Cohort
from streams.errors_report import ShownRecord

MOST_SHOWN: Final = 4_000
"""Characters of a masked value that are shown as text; JSON has all of them."""

# What a terminal would obey rather than show: control characters, and marks that turn the order of the text.
_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def to_json(value: Any) -> str:
    """JSON on several lines, every number with all its digits."""
    return orjson.dumps(value, default=_as_written, option=orjson.OPT_INDENT_2).decode()


def cohort_json(cohort: Cohort) -> dict[str, Any]:
    """A cohort as JSON values, its times in ISO 8601."""
    return {
        "table": cohort.table,
        "rule": cohort.rule,
        "contract_version": cohort.contract_version,
        "first_seen": _iso(cohort.first_seen),
        "last_seen": _iso(cohort.last_seen),
        "count": cohort.count,
        "open": cohort.open,
        "redriven": cohort.redriven,
    }


def record_json(record: ShownRecord, *, raw: bool) -> dict[str, Any]:
    """A record as JSON values; `raw_key` and `raw_value` are texts, their `_encoding` utf-8 or base64."""
    shown = {
        "table": record.table,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "kafka_ts": _iso(record.kafka_ts),
        "ingest_ts": _iso(record.ingest_ts),
        "run_id": record.run_id,
        "contract": record.contract,
        "contract_version": record.contract_version,
        "violations": list(record.violations),
        "redriven": record.redriven,
        "key": record.key,
        "value": record.value,
    }
    if raw:
        for name, value in (("raw_key", record.raw_key), ("raw_value", record.raw_value)):
            encoding, text = _text(value) if value is not None else (None, None)
            shown |= {name: text, f"{name}_encoding": encoding}
    return shown


def record_text(record: ShownRecord, *, raw: bool) -> str:
    """A record as lines for a person."""
    return "\n".join(_lines(record, raw=raw))


def _lines(record: ShownRecord, *, raw: bool) -> Iterator[str]:
    yield _safe(f"{record.position}  {'re-driven' if record.redriven else 'open'}")
    produced = f", produced {_when(record.kafka_ts)}" if record.kafka_ts is not None else ""
    contract = f"; contract {record.contract} {record.contract_version}" if record.contract else ""
    yield _safe(f"  rejected {_when(record.ingest_ts)}{produced}{contract}")
    for one in record.violations:
        by = f", by {one['schema_path']}" if one["schema_path"] else ""
        yield _safe(f"  {one['rule']} at {one['pointer'] or '/'}{by}")
    if record.raw_key is None and record.raw_value is None:
        yield "  its bytes are not kept in this lane" if not record.table.startswith("bronze.") else "  no bytes"
    if record.raw_key is not None:
        yield f"  key    {_shown(record.key)}"
    if record.raw_value is not None:
        yield f"  value  {_shown(record.value)}"
    if raw:
        for name, value in (("key", record.raw_key), ("value", record.raw_value)):
            if value is not None:
                encoding, text = _text(value)
                if encoding == "utf-8" and _UNSEEN.search(text):
                    encoding, text = "base64", base64.b64encode(value).decode()
                yield f"  raw {name} ({encoding})"
                yield text


def _shown(value: Any) -> str:
    text = _safe(value if isinstance(value, str) else to_json(value))
    if len(text) > MOST_SHOWN:
        text = f"{text[:MOST_SHOWN]}… ({len(text):,} characters in all)"
    return text.replace("\n", "\n  ")


def _text(value: bytes) -> tuple[str, str]:
    try:
        return "utf-8", value.decode("utf-8")
    except UnicodeDecodeError:
        return "base64", base64.b64encode(value).decode()


def _safe(text: str) -> str:
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at is not None else None


def _as_written(value: Any) -> Any:
    if isinstance(value, Decimal | int):
        return orjson.Fragment(str(value))
    raise TypeError
