"""Who let gold have what, or took it back, and why: a Delta table, `<root>/_ops/gate_decisions`, that only grows."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from checkpoints.requests import Decide
from sinks.commit import Commit
from sinks.table import Table
from streams.quality.gate import Judgement
from streams.quality.results import append, ensure

NAME: Final = "_ops.gate_decisions"
SCHEMA: Final = pa.schema(
    [
        ("decided_at", pa.timestamp("us", "UTC")),
        ("decision", pa.string()),
        ("table", pa.string()),
        ("version_from", pa.int64()),
        ("version_to", pa.int64()),
        ("who", pa.string()),
        ("why", pa.string()),
        ("rules", pa.list_(pa.string())),
        ("rows", pa.int64()),
        ("run_id", pa.string()),
    ]
)


class Decisions:
    """The decisions of one lake."""

    def __init__(self, lake: Lake) -> None:
        self.table = Table(NAME, lake)

    def keep(self, asked: Decide, held: Judgement, entry: LedgerEntry, rows: int, now: datetime) -> None:
        """Write a decision down before it is carried out; one that was, and not carried out, is not written again."""
        ensure(self.table, SCHEMA)
        if entry.run_id in self.table.to_arrow(["run_id"])["run_id"].to_pylist():
            return
        row = {
            "decided_at": now,
            "decision": asked.decision,
            "table": asked.table,
            "version_from": held.approved,
            "version_to": held.version,
            "who": asked.who,
            "why": asked.why,
            "rules": [verdict.rule.label for verdict in held.failures],
            "rows": rows,
            "run_id": entry.run_id,
        }
        append(self.table, pa.Table.from_pylist([row], SCHEMA), Commit({}, entry))

    def of(self, table: str) -> list[dict[str, Any]]:
        """Those on one table, the newest first."""
        if not self.table.exists:
            return []
        rows = self.table.of_keys(SCHEMA.names, "table", pa.array([table])).to_pylist()
        return sorted(rows, key=lambda row: row["decided_at"], reverse=True)
