"""A plan for people to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams.plan.counts import Failing, RecordPlan
from streams.plan.make import Plan
from streams.plan.tables import TablePlan

_LABEL_WIDTH = 15


def plan_text(plan: Plan) -> str:
    """All of it: a paragraph for each table, and what it comes to at the end."""
    if plan.deployed is None:
        return "\n\n".join([*(_table_text(one) for one in plan.tables), _nothing_deployed(plan)])
    if not plan.tables:
        return "Nothing changes."
    return "\n\n".join([*(_table_text(one) for one in plan.tables), _sum(plan)])


def _nothing_deployed(plan: Plan) -> str:
    if plan.has_tables:
        return (
            "The lake has tables, but what they were made from was not kept: start the service once as it is, and plan "
            "again."
        )
    return "Nothing is deployed in this lake yet: everything is new."


def _sum(plan: Plan) -> str:
    broken = [one.table for one in plan.tables if one.is_broken]
    todo = [one.table for one in plan.tables if one.action != "none"]
    if broken:
        return f"This would break {', '.join(broken)}."
    return f"Nothing breaks. {', '.join(todo)}: see what to do." if todo else "Nothing breaks, and nothing is to do."


def _table_text(plan: TablePlan) -> str:
    lines = [f"{plan.table}  ({plan.state})" if plan.state != "changed" else plan.table]
    lines += _labelled("changes", plan.changes)
    lines += _labelled("breaks", plan.breaks)
    if plan.records is not None:
        lines += _records(plan.records, plan)
    lines += _labelled("action", [plan.action] if plan.state in ("changed", "follows") else [])
    lines += _labelled("to do", [f"{plan.remedy}."] if plan.remedy else [])
    return "\n".join(lines)


def _records(found: RecordPlan, plan: TablePlan) -> Iterator[str]:
    judged = f"{_counted(found.rows, 'row')} of bronze, {_counted(found.open, 'open record')} of the error lane"
    yield from _labelled("judged", [judged])
    not_judged = []
    if found.rows_not_judged:
        not_judged.append(
            f"{_counted(found.rows_not_judged, 'row')}: what is deployed takes no record that could have become them, "
            "so they came under an older contract"
        )
    if found.open_not_judged:
        count = _counted(found.open_not_judged, "open record")
        not_judged.append(f"{count}. {found.why_not_judged}" if found.why_not_judged else count)
    elif found.why_not_judged:
        not_judged.append(found.why_not_judged)
    yield from _labelled("not judged", not_judged)
    failing = [_failing(one) for one in found.failing]
    if failing and plan.below:
        failing.append(f"such records would be missing from {', '.join(plan.below)}")
    yield from _labelled("newly failing", failing or ["none"])
    passing = [f"{one.rule}: {one.count}, as {', '.join(one.examples)}" for one in found.passing]
    if passing:
        passing.append(f"once it is deployed, `sluice errors redrive --table {plan.table}` brings them in")
    yield from _labelled("newly passing", passing or ["none"])
    if found.passing_already:
        sentence = f"{found.passing_already}, under what is deployed: `sluice errors redrive --table {plan.table}`"
        yield from _labelled("passing already", [sentence])
    still = [
        f"{one.was}: {one.count}" if one.was == one.rule else f"{one.was}: {one.count}, now by {one.rule}"
        for one in found.still_failing
    ]
    yield from _labelled("still failing", still)


def _failing(one: Failing) -> str:
    counts = [f"{number} {word}" for number, word in ((one.surely, "surely"), (one.perhaps, "perhaps")) if number]
    why = " (the table does not tell a null from no field, or a number from its text)" if one.perhaps else ""
    return f"{one.rule}: {' and '.join(counts)}{why}, as {', '.join(one.examples)}"


def _labelled(label: str, lines: Iterable[str]) -> Iterator[str]:
    for index, line in enumerate(lines):
        yield f"  {label if not index else '':<{_LABEL_WIDTH}}  {line}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
