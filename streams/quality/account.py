"""What stands at each gate, from the log of the results: without Spark, whether the service runs or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from streams.graph import Graph
from streams.quality.decisions import Decisions
from streams.quality.errors import NoGate
from streams.quality.gate import Gate

_DECISIONS_SHOWN = 5


@dataclass(frozen=True)
class GateAccount:
    """One gate: `approved` is the version that gold may read, `version` the newest of the table.

    `failing` are the rows of the results by which gold waits `since`, `warnings` those that fail and hold nothing, of
    the newest judgement; `decisions` the last ones, newest first.
    """

    table: str
    approved: int
    version: int
    judged: int | None
    since: datetime | None
    failing: Sequence[Mapping[str, Any]]
    warnings: Sequence[Mapping[str, Any]]
    decisions: Sequence[Mapping[str, Any]]

    @property
    def is_held(self) -> bool:
        """Whether gold waits for a correction or a decision."""
        return bool(self.failing)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; times as text."""
        return asdict(self) | {"held": self.is_held}

    def lines(self) -> Iterator[str]:
        """The same for people."""
        if not self.is_held:
            behind = "" if self.version <= self.approved else f"; version {self.version} is not judged yet"
            yield f"{self.table}: open, gold may read up to version {self.approved}{behind}."
        else:
            since = f" since {self.since:%Y-%m-%d %H:%M:%S}" if self.since else ""
            yield f"{self.table}: HELD{since}, gold stays at version {self.approved} of {self.judged}."
        for row in self.failing:
            yield f"  critical  {_sentence(row)}"
        for row in self.warnings:
            yield f"  warn      {_sentence(row)}"
        for one in self.decisions:
            rules = ", ".join(one["rules"])
            yield (
                f"  {one['decided_at']:%Y-%m-%d %H:%M:%S}  {one['decision']} of {one['rows']} rows ({rules}) "
                f"by {one['who']}: {one['why']}"
            )


def accounts_of(graph: Graph, table: str | None = None) -> Iterator[GateAccount]:
    """The account of every gate in the order of the flow, or of one table; raises NoGate."""
    if table is not None and table not in graph.gates:
        raise NoGate(table, graph.gates)
    decisions = Decisions(graph.lake)
    for name, gate in graph.gates.items():
        if table in (None, name):
            yield _account(gate, decisions)


def _account(gate: Gate, decisions: Decisions) -> GateAccount:
    name = gate.table.name
    if not gate.table.exists:
        return GateAccount(name, 0, 0, None, None, (), (), ())
    approved, rows = gate.approved(), gate.results.of(name)
    newest = gate.results.last_of(name) if rows else []
    failing = [row for row in newest if not row["success"]]
    # A judgement up to the approved version was let through, or released since.
    held = [row for row in failing if row["severity"] == "critical" and row["version_to"] > approved]
    clocks = [
        row["clock"]
        for row in rows
        if row["severity"] == "critical" and not row["success"] and row["version_from"] == approved
    ]
    return GateAccount(
        name,
        approved,
        gate.table.version(),
        rows[-1]["version_to"] if rows else None,
        min(clocks) if held and clocks else None,
        held,
        [row for row in failing if row["severity"] == "warn"],
        decisions.of(name)[:_DECISIONS_SHOWN],
    )


def _sentence(row: Mapping[str, Any]) -> str:
    rule = f"{row['expectation_type']} {row['kwargs']}"
    if row["unexpected_count"] is None:
        observed = row["observed_value"]
        return f"{rule}: observed {'nothing' if observed is None else f'{observed:g}'}"
    keys = row["partial_unexpected_keys"]
    more = ", ..." if row["unexpected_count"] > len(keys) else ""
    return f"{rule}: {row['unexpected_count']} of {row['element_count']} rows ({'; '.join(keys)}{more})"
