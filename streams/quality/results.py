"""Verdicts as a Delta table, `<root>/_ops/dq_results`, in the fields of Great Expectations' results.

| column                                   | what                                                                     |
|------------------------------------------|--------------------------------------------------------------------------|
| `table`, `version_from`, `version_to`    | what was judged: the versions after the first, up to and with the second |
| `run_id`, `clock`                        | the judgement (the same when judged again), and the batch's clock        |
| `expectation_type`, `kwargs`             | the rule, its parameters as JSON                                         |
| `severity`, `success`                    | how much it matters, and whether it holds                                |
| `element_count`, `missing_count`         | rows that the rule is about, and those of them with nothing to judge     |
| `unexpected_count`, `unexpected_percent` | rows that break it, and their share of those that could be judged        |
| `observed_value`                         | the number that a rule over many rows judged                             |
| `partial_unexpected_list`                | up to 20 unexpected values; `***` for personal ones                      |
| `partial_unexpected_keys`                | the keys of their rows, likewise                                         |

How far a table is approved for gold is a position in this table's own log, committed with the verdicts that it rests
on: it survives whatever the process does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from checkpoints.failpoints import reach
from checkpoints.lake import Lake
from checkpoints.ledger import LedgerEntry
from sinks.commit import Commit
from sinks.engine import owned
from sinks.table import Table
from streams.quality.verdict import Verdict

NAME: Final = "_ops.dq_results"
SCHEMA: Final = pa.schema(
    [
        ("table", pa.string()),
        ("version_from", pa.int64()),
        ("version_to", pa.int64()),
        ("run_id", pa.string()),
        ("clock", pa.timestamp("us", "UTC")),
        ("expectation_type", pa.string()),
        ("kwargs", pa.string()),
        ("severity", pa.string()),
        ("success", pa.bool_()),
        ("element_count", pa.int64()),
        ("missing_count", pa.int64()),
        ("unexpected_count", pa.int64()),
        ("unexpected_percent", pa.float64()),
        ("observed_value", pa.float64()),
        ("partial_unexpected_list", pa.list_(pa.string())),
        ("partial_unexpected_keys", pa.list_(pa.string())),
    ]
)
_COMPACT_EVERY: Final = 100


class Results:
    """The results of one lake, and the positions of its gates."""

    def __init__(self, lake: Lake) -> None:
        self.table = Table(NAME, lake)

    def ensure(self) -> None:
        """Create the table where it is missing."""
        ensure(self.table, SCHEMA)

    def approved(self, app: str) -> int | None:
        """The version that gold may read of the table whose gate has this name; None where there is none yet."""
        return self.table.position(app) if self.table.exists else None

    def write(self, entry: LedgerEntry, verdicts: Sequence[Verdict], approves: Mapping[str, int]) -> None:
        """Keep the verdicts on the versions that `entry` names, and move the positions, in one commit."""
        [(name, (first, last))] = entry.upstreams.items()
        reach("gate.before_verdict", name)
        rows = [row_of(verdict, name, first or 0, last, entry.run_id, entry.clock) for verdict in verdicts]
        append(self.table, pa.Table.from_pylist(rows, SCHEMA), Commit(approves, entry))

    def of(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table, those of the newest version last."""
        if not self.table.exists:
            return []
        found = self.table.of_keys(SCHEMA.names, "table", pa.array([name]))
        return sorted(found.to_pylist(), key=lambda row: (row["version_to"], -row["version_from"]))

    def last_of(self, name: str) -> list[dict[str, Any]]:
        """The rows of the newest judgement of a table, each rule once."""
        rows = self.of(name)
        newest = [row for row in rows if row["version_to"] == rows[-1]["version_to"]]
        return list({(row["expectation_type"], row["kwargs"]): row for row in newest}.values())


def ensure(table: Table, schema: pa.Schema) -> None:
    """Create a table of Sluice's own where it is missing."""
    if not table.exists:
        configuration = {"delta.enableExpiredLogCleanup": "true", "delta.checkpointInterval": "100"}
        carried = table.created_properties()
        DeltaTable.create(
            table.path, schema=schema, mode="ignore", configuration=configuration, commit_properties=carried
        )


def append(table: Table, rows: pa.Table, commit: Commit) -> None:
    """Append rows, moving positions; now and then the many small files that come of it become one."""
    with table.lock:
        if not rows.num_rows:
            table.commit_position(commit)
            return
        handle, carried = table.to_commit(commit, "driver")
        write_deltalake(handle, owned(rows), mode="append", commit_properties=carried)
        if table.version() % _COMPACT_EVERY == 0:
            # No identifier goes with these: they change no row, and are refused where another has taken their files.
            table.writer().optimize.compact()
            table.writer().vacuum(dry_run=False)


def row_of(verdict: Verdict, table: str, first: int, last: int, run_id: str, clock: datetime) -> dict[str, Any]:
    """A verdict as a row."""
    return {
        "table": table,
        "version_from": first,
        "version_to": last,
        "run_id": run_id,
        "clock": clock,
        "expectation_type": verdict.rule.expectation,
        "kwargs": verdict.rule.kwargs_json,
        "severity": verdict.rule.severity,
        "success": verdict.success,
        "element_count": verdict.elements,
        "missing_count": verdict.missing,
        "unexpected_count": verdict.unexpected,
        "unexpected_percent": verdict.unexpected_percent,
        "observed_value": verdict.observed,
        "partial_unexpected_list": list(verdict.values),
        "partial_unexpected_keys": list(verdict.keys),
    }
