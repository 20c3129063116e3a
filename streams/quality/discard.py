"""Taking back what a gate holds: a compensating commit of the silver table, its rows' records in the table's lane.

Passing them over would only last until the next change of their keys. The table is left as if the changes had been
quarantined: each row is again what it was before, as far back as it kept the rules, or is gone where it never did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from checkpoints import ledger
from checkpoints.commits import CommitLog
from checkpoints.effective import taken_back
from checkpoints.ledger import LedgerEntry
from checkpoints.positions import app_id
from schemas import columns as c
from schemas.quality.rule import MapRule, RowRule, Rule
from schemas.spec import HistorySpec
from sinks import engine
from sinks.commit import Commit
from sinks.engine import Merge
from sinks.lanes import lane
from sinks.table import CHANGE_TYPE, COMMIT_VERSION
from streams.compute import DUCKDB, InDriver
from streams.quality.changed import changed_rows
from streams.quality.errors import NotDiscardable
from streams.quality.gate import Gate, Judgement
from streams.silver import ChangeStep
from streams.steps import CREATED

STEP: Final = "discard"
_GONE: Final = "__gone"
_VIOLATION: Final = pa.struct([("rule", pa.string()), ("pointer", pa.string()), ("schema_path", pa.string())])


@dataclass(frozen=True)
class Discard:
    """What is taken back by which commit: rows that go to the lane, and what takes their place."""

    entry: LedgerEntry
    number: int
    offending: pa.Table
    instead: pa.Table

    @property
    def rows(self) -> int:
        """How many records go to the lane."""
        return int(self.offending.num_rows)


def plan(spark: SparkSession, step: ChangeStep, gate: Gate, held: Judgement, now: datetime) -> Discard:
    """What to take back of what is held; for whoever holds the locks of the table and its gate.

    1. The rows that break a critical rule that fails.
    2. Of a history these are gone; of current rows, each becomes what it was last without breaking a rule.

    Raises NotDiscardable where no single row is at fault.
    """
    table = step.table
    failing = [verdict.rule for verdict in held.failures if isinstance(verdict.rule, MapRule)]
    names = table.schema().names
    entry = gate.entry(held.approved, held.version)
    # 1
    compute, rows = changed_rows(spark, table, step.spec, names, held.approved, held.version, step.small_batch_rows)
    around = gate.around(held.version, entry, is_whole=held.approved == CREATED)
    bad = InDriver().of(gate.suite.offending(compute, rows, around, failing.__contains__))
    if not bad.num_rows:
        raise NotDiscardable(table.name, "What fails is not about single rows, so that there are none to take back.")
    app = app_id(step.upstream.source_name(), STEP, table.generation())
    number = (table.position(app) or 0) + 1
    entry = LedgerEntry(
        table=table.name,
        step="discard",
        run_id=ledger.run_id(table.source_name(), STEP, table.generation(), number),
        clock=now,
        generation=table.generation(),
        engine="none",
        source="feed",
        upstreams={table.name: (held.approved, held.version)},
    )
    # 2
    if isinstance(step.spec, HistorySpec):
        instead = bad.append_column(_GONE, pa.repeat(pa.scalar(True), bad.num_rows))
    else:
        bad, instead = _before(spark, step, gate, held, bad, [one for one in failing if isinstance(one, RowRule)])
    deletes = int(pc.sum(instead[_GONE].cast(pa.int64())).as_py() or 0)
    counts = {"upserts": instead.num_rows - deletes, "deletes": deletes}
    entry = entry.model_copy(update={"rows": {k: n for k, n in counts.items() if n}, "rejected": bad.num_rows})
    return Discard(entry, number, bad, instead)


def carry_out(step: ChangeStep, gate: Gate, held: Judgement, discard: Discard, topic: str) -> int:
    """Put the records into the lane, then commit what takes the rows' place; the table's version.

    Done again after a crash between the two, it writes the same lane folder again.
    """
    table, entry = step.table, discard.entry
    folder = lane.folder(step.lake, table.name, entry.run_date, entry.run_id)
    lane.write(step.lake, folder, _records(discard, held, topic))
    identity = [f"{c.SEQUENCE}.{field}" for field in c.CHANGE_IDENTITY] if isinstance(step.spec, HistorySpec) else []
    clauses = Merge(
        keys=[*step.spec.keys, *identity],
        columns=table.schema().names,
        delete_when=f"s.{_GONE}",
        update_when=f"NOT s.{_GONE}",
        insert_when=f"NOT s.{_GONE}",
    )
    app = app_id(step.upstream.source_name(), STEP, table.generation())
    version = engine.merge(table, discard.instead, clauses, Commit({app: discard.number}, entry))
    step.look_again()
    gate.look_again()
    return version


def _before(
    spark: SparkSession, step: ChangeStep, gate: Gate, held: Judgement, bad: pa.Table, rules: Sequence[Rule]
) -> tuple[pa.Table, pa.Table]:
    """All states of the rows that broke a rule, newest first down to one that did not; and that one, or `__gone`."""
    d, driver = DUCKDB, InDriver()
    names = step.table.schema().names
    keys, same = step.spec.keys, " AND ".join(f"s.{d.name(key)} = b.{d.name(key)}" for key in step.spec.keys)
    feed = step.table.changes(spark, held.approved + 1, held.version, step.small_batch_rows, versions=True)
    wanted = f"SELECT s.* FROM states s WHERE EXISTS (SELECT 1 FROM bad b WHERE {same})"
    # A RESTORE takes whole files out and in: its deletions are of rows that nobody deleted.
    gone = taken_back(CommitLog(step.lake, step.table.name), held.approved + 1, held.version)
    is_state = f"{CHANGE_TYPE} <> 'update_preimage'"
    is_state += f" AND {COMMIT_VERSION} NOT IN ({', '.join(map(str, sorted(gone)))})" if gone else ""
    if isinstance(feed.rows, pa.Table):
        states = driver.sql(f"{wanted} AND {is_state}", {"states": feed.rows, "bad": bad})
    else:
        these = spark.createDataFrame(bad.select(list(keys)))
        rows = feed.rows.where(is_state).join(these, list(keys), "left_semi")
        states = rows.select(*feed.rows.columns).toArrow()
    if held.approved != CREATED:
        first = bad[keys[0]].combine_chunks().unique()
        approved = driver.sql(wanted, {"states": step.table.of_keys(names, keys[0], first, held.approved), "bad": bad})
        at = pa.repeat(pa.scalar(held.approved, states.schema.field(COMMIT_VERSION).type), approved.num_rows)
        kept = pa.repeat(pa.scalar("insert"), approved.num_rows)
        approved = approved.append_column(CHANGE_TYPE, kept).append_column(COMMIT_VERSION, at)
        states = pa.concat_tables([states, approved.select(states.column_names).cast(states.schema)])
    around = gate.around(held.version, gate.entry(held.approved, held.version), is_whole=False)
    there = driver.sql(f"SELECT * FROM states WHERE {CHANGE_TYPE} <> 'delete'", {"states": states})
    breaking = driver.of(gate.suite.offending(driver, there, around, list(rules).__contains__))
    tables = {"states": states, "bad": bad, "breaking": breaking}
    by_key, event = d.names(keys), f"{same} AND s.{COMMIT_VERSION} = b.{COMMIT_VERSION}"
    # The rows as they stand are at fault whichever rule says so; those before only by what they are themselves.
    marked = (
        f"SELECT s.*, ({CHANGE_TYPE} <> 'delete' AND (__place = 1 OR EXISTS (SELECT 1 FROM breaking b WHERE {event}))) "
        f"AS __breaks FROM (SELECT *, row_number() OVER (PARTITION BY {by_key} ORDER BY {COMMIT_VERSION} DESC, "
        f"{CHANGE_TYPE} = 'delete') AS __place FROM states) s"
    )
    good = f"SELECT {by_key}, min(__place) AS __good FROM ({marked}) WHERE NOT __breaks GROUP BY {by_key}"
    joined = f"({marked}) s LEFT JOIN ({good}) b ON {same}"
    states_back = f"SELECT {d.names(names, 's')} FROM {joined} WHERE __place < coalesce(__good, 2147483647)"
    last = (
        f"SELECT {d.names(names, 's')}, (__good IS NULL OR {CHANGE_TYPE} = 'delete') AS {_GONE} FROM {joined} "
        "WHERE __place = coalesce(__good, 1)"
    )
    instead = driver.sql(last, tables)
    return driver.sql(states_back, tables), instead


def _records(discard: Discard, held: Judgement, topic: str) -> pa.Table:
    """The records as the lane keeps them; their bytes are in bronze, at these coordinates."""
    rules = [verdict.rule for verdict in held.failures if isinstance(verdict.rule, MapRule)]
    found: list[dict[str, Any]] = [
        {"rule": rule.code, "pointer": f"/{rule.columns[0]}", "schema_path": ""} for rule in rules
    ]
    rows, sequence = discard.offending.num_rows, discard.offending[c.SEQUENCE].combine_chunks()
    return pa.table(
        {
            "table": pa.repeat(pa.scalar(discard.entry.table), rows),
            "topic": pa.repeat(pa.scalar(topic), rows),
            "partition": pc.struct_field(sequence, "partition"),
            "offset": pc.struct_field(sequence, "offset"),
            "violations": pa.array([found] * rows, pa.list_(_VIOLATION)),
            "run_id": pa.repeat(pa.scalar(discard.entry.run_id), rows),
            "ingest_ts": pa.repeat(pa.scalar(discard.entry.clock, pa.timestamp("us", "UTC")), rows),
        }
    )
