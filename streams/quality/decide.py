"""What a person decides about a held gate, carried out: by the service where one runs, else by the command."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession

from checkpoints import ledger
from checkpoints.requests import Decide
from schemas.spec import BronzeSpec
from streams import logs
from streams.graph import Graph
from streams.quality import discard as taking_back
from streams.quality.decisions import Decisions
from streams.quality.errors import NoGate, NotDiscardable, NotHeld
from streams.quality.gate import Gate
from streams.redrive import now_to_the_millisecond
from streams.silver import ChangeStep

log = logs.get(__name__)


def decide(graph: Graph, spark: SparkSession, asked: Decide) -> dict[str, Any]:
    """Release or discard what the gate of a table holds; the account of it, as JSON values.

    1. Judge what there is: that, and not what was seen before, is what is decided on.
    2. Write down who decides what, and why.
    3. Carry it out. Gold goes on when its steps are next driven.

    Raises NoGate, NotHeld and NotDiscardable.
    """
    if asked.table not in graph.gates:
        raise NoGate(asked.table, graph.gates)
    gate = graph.gates[asked.table]
    with gate.lock:
        # 1
        ready = gate.ready(spark)
        if gate.held is None:
            raise NotHeld(asked.table, ready)
        rows = _release(graph, gate, asked) if asked.decision == "release" else _discard(graph, gate, spark, asked)
        approved = gate.ready(spark)
        log.warning("gate decided", table=asked.table, decision=asked.decision, who=asked.who, approved=approved)
        return {
            "table": asked.table,
            "decision": asked.decision,
            "rows": rows,
            "approved": approved,
            "held": gate.held is not None,
        }


def _release(graph: Graph, gate: Gate, asked: Decide) -> int:
    held = gate.held
    if held is None:
        return 0
    entry = gate.entry(held.approved, held.version)
    run_id = ledger.run_id(entry.run_id, "release")
    entry = entry.model_copy(update={"run_id": run_id, "rows": {}})
    rows = max((verdict.unexpected or 0 for verdict in held.failures), default=0)
    # 2, 3
    Decisions(graph.lake).keep(asked, held, entry, rows, now_to_the_millisecond())
    gate.approve(held.version, entry)
    return rows


def _discard(graph: Graph, gate: Gate, spark: SparkSession, asked: Decide) -> int:
    step = graph.below[asked.table]
    held = gate.held
    if not isinstance(step, ChangeStep):
        raise NotDiscardable(asked.table, "A query makes its rows, so that it has no lane for them.")
    with step.table.lock:
        # The table may have moved on until its lock was taken.
        gate.ready(spark)
        held = gate.held
        if held is None:
            raise NotHeld(asked.table, gate.approved())
        bronze = graph.pipeline.tables[step.spec.from_]
        topic = bronze.source.topic if isinstance(bronze, BronzeSpec) else ""
        planned = taking_back.plan(spark, step, gate, held, now_to_the_millisecond())
        # 2, 3
        Decisions(graph.lake).keep(asked, held, planned.entry, planned.rows, now_to_the_millisecond())
        taking_back.carry_out(step, gate, held, planned, topic)
        return planned.rows
