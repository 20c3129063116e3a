"""From what is asked for to a plan, and from an agreed plan to an act that is written down and carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.sql import SparkSession

from checkpoints.journal import Act, Journal
from checkpoints.requests import Author, Replay, Reset, Rewind, Vacuum
from schemas.errors import SluiceError
from schemas.settings import Settings
from streams import logs
from streams.acts.errors import NoSuchTable, NotAQuery
from streams.acts.plan import Plan
from streams.acts.replay import ReplayPlan, carry_out_replay, plan_replay
from streams.acts.reset import ResetPlan, carry_out_reset, plan_recovery_of_pull, plan_reset
from streams.acts.rewind import RewindPlan, carry_out_rewind, cut_short, noted, plan_rewind
from streams.acts.vacuum import VacuumPlan, carry_out_vacuum, plan_vacuum
from streams.bronze import BronzeStep
from streams.explain import explain
from streams.graph import Graph
from streams.sources import Brokers

log = logs.get(__name__)

Planned = Reset | Replay | Rewind | Vacuum
"""What is planned first, and written down."""


def plan_of(graph: Graph, settings: Settings, action: Planned) -> Plan:
    """What an action would do now; nothing is changed. Raises SluiceError where it can not be done."""
    brokers = Brokers(settings.kafka)
    try:
        match action:
            case Reset():
                step = _query(graph, action)
                is_pulled = step.spec.source.jdbc is not None
                return plan_recovery_of_pull(step) if is_pulled else plan_reset(step, brokers, action)
            case Replay():
                return plan_replay(graph, action)
            case Rewind():
                return plan_rewind(graph, brokers, action)
            case Vacuum():
                return plan_vacuum(graph, action)
    finally:
        brokers.close()


def carry_out(
    graph: Graph,
    spark: SparkSession | None,
    settings: Settings,
    action: Planned,
    author: Author,
    asked: Act | None = None,
) -> dict[str, Any]:
    """Carry an action out, for the holder of the lease with everything at rest; the account of it, as JSON values.

    Only a replay needs Spark. `asked` is the act of a request.

    1. Where an earlier holder has done it and died before it could say so, it is done: `latest` would be elsewhere now.
       Else plan it anew: between the plan that was agreed to and now, batches may have come.
    2. Write down who does what.
    3. Do it.
    4. Write down that it is done, or why it could not be.
    """
    # 1
    journal = Journal(graph.lake)
    if asked is not None and (known := journal.done_before(asked)):
        return {"done": True, "act": known.id[:8], "plan": list(known.plan)}
    plan = plan_of(graph, settings, action)
    if plan.is_empty:
        return {"done": False, "plan": list(plan.lines)}
    # 2
    act = asked or Act(author=author, action=action)
    act = act.model_copy(update={"plan": tuple(plan.lines), "before": plan.before, "after": plan.after})
    act = journal.write(noted(graph, act, plan) if isinstance(plan, RewindPlan) else act)
    # 3
    try:
        result = _do(graph, spark, plan, act)
    except Exception as error:
        if isinstance(plan, RewindPlan):  # half of it must be brought to its end
            raise cut_short(act, error) from error
        journal.failed(act, str(error) if isinstance(error, SluiceError) else explain(error))
        raise
    # 4
    journal.done(act)
    log.warning("past changed", action=action.action, act=act.id[:8], who=author.who, result=result)
    return {"done": True, "act": act.id[:8], "plan": list(plan.lines), **result}


def written_down(graph: Graph, act: Act, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do what was asked for, and write down who asked, when, by which command, and how it was before and after.

    What a request has asked for, and is done already, is not done again: only the answer was lost.
    """
    journal = Journal(graph.lake)
    if known := journal.done_before(act):
        return known.after
    act = journal.write(act.model_copy(update={"before": _standing(graph, act)}))
    try:
        done = do()
    except Exception as error:
        journal.failed(act, str(error) if isinstance(error, SluiceError) else explain(error))
        raise
    journal.done(act, after=done)
    return done


def _standing(graph: Graph, act: Act) -> dict[str, Any]:
    """The version of the table that is acted on, and the one that gold may read where a gate stands before it."""
    name = getattr(act.action, "table", "")
    found: dict[str, Any] = {"table": name}
    if name in graph.tables and graph.tables[name].exists:
        found["version"] = graph.tables[name].version()
    if name in graph.gates:
        found["approved"] = graph.gates[name].approved()
    return found


def _do(graph: Graph, spark: SparkSession | None, plan: Plan, act: Act) -> dict[str, Any]:
    match plan:
        case ResetPlan():
            return carry_out_reset(graph.bronze[plan.before["table"]], plan, act.id)
        case ReplayPlan() if spark is not None:
            return carry_out_replay(graph, spark, plan)
        case RewindPlan():
            return carry_out_rewind(graph, act)
        case VacuumPlan():
            return carry_out_vacuum(graph, plan)
    raise TypeError(plan)


def _query(graph: Graph, action: Reset) -> BronzeStep:
    """The step of the query; of a table that is pulled a checkpoint can be made anew, and not put elsewhere."""
    if action.table not in graph.bronze:
        raise NoSuchTable(action.table, "bronze table with a query", list(graph.bronze))
    step = graph.bronze[action.table]
    if step.spec.source.jdbc is not None and action.to != "ledger":
        raise NotAQuery(action.table, step.spec.source.jdbc.watermark_state_key)
    return step
