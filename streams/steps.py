"""What the steps below bronze share: choosing what to consume, and the entry that says what was consumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pyspark.sql import SparkSession

from checkpoints import ledger
from checkpoints.errors import PositionAhead
from checkpoints.ledger import LedgerEntry
from checkpoints.positions import app_id
from sinks.commit import Commit
from sinks.table import Table
from streams.handover import Handover

REPLAY = "replay"
REDRIVE = "redrive"

CREATED = 0
"""The version that creates a table and holds no rows: where a table that has consumed nothing stands."""


@dataclass(frozen=True)
class StepOutcome:
    """One step of one table: the entry that it committed, and the version it made."""

    entry: LedgerEntry
    version: int


Again = Mapping[str, tuple[int, int]]
"""Upstream -> the first and the last of its versions that are taken up once more; those that were consumed count."""


class Step(Protocol):
    """The work that keeps one table up to its upstreams."""

    @property
    def table(self) -> Table:
        """The table that the step writes."""

    @property
    def label(self) -> str:
        """The step's word in the names of its positions."""

    def newest(self, upstream: str) -> int:
        """The newest version of an upstream."""

    def prepare(self, spark: SparkSession) -> None:
        """Create the table where it is missing, and check that it fits its spec."""

    def run(self, spark: SparkSession, handover: Handover | None, again: Again | None = None) -> StepOutcome | None:
        """Bring the table up to its upstreams; None where it was already.

        With `again`, take these versions up once more instead; positions stay where they are.
        """


@dataclass(frozen=True)
class Pending:
    """What a table has still to consume of one upstream: the versions after `position`, up to `to`.

    `is_first` says that the table has consumed nothing of it yet. Where versions are taken up once more, `last` is the
    last of them, `to` the one that the table stands at, and `mark` what is kept under `app` for it.
    """

    upstream: Table
    app: str
    position: int
    to: int
    is_first: bool
    last: int = CREATED
    mark: int | None = None

    @property
    def until(self) -> int:
        """The last version whose changes are taken up."""
        return self.to if self.mark is None else self.last

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to consume."""
        return self.position >= self.until

    @property
    def keeps(self) -> int:
        """What is kept of it, under `app`."""
        return self.to if self.mark is None else self.mark

    def wrote_rows(self) -> bool:
        """Whether any of it may have changed rows; False only where the ledger is sure."""
        return not self.is_empty and ledger.rows_between(self.upstream.handle(), self.position + 1, self.until) != 0

    def has_feed(self) -> bool:
        """Whether the change feed of all of it can be read."""
        return self.upstream.has_feed(self.position + 1, self.until)


Ready = Callable[[str, SparkSession], int | None]
"""How far a table may be read, by its name; None for as far as there is."""


def all_there_is(name: str, spark: SparkSession) -> None:
    """For a table that nothing stands before."""
    del name, spark


def pending(table: Table, upstream: Table, step: str, ready: int | None = None) -> Pending:
    """What `table` has to consume of `upstream`, up to the version that is `ready` where one is given.

    Raises PositionAhead where it has consumed what is not there. What it has consumed before it had to wait, it has.
    """
    app = app_id(upstream.source_name(), step, table.generation())
    position = table.position(app)
    version = upstream.version()
    begun = CREATED if position is None else position
    if begun > version:
        raise PositionAhead(table.name, upstream.name, begun, version)
    to = version if ready is None else max(begun, min(ready, version))
    return Pending(upstream, app, begun, to, is_first=position is None)


def once_more(table: Table, upstream: Table, step: str, again: Again) -> Pending:
    """What `table` has consumed of `upstream` and takes up again; nothing of one that is not named.

    It has a mark of its own, so that a commit of Spark's has something to move.
    """
    at = pending(table, upstream, step)
    first, last = again.get(upstream.name, (at.position + 1, at.position))
    app = app_id(upstream.source_name(), REPLAY, table.generation())
    mark = (table.position(app) or 0) + 1
    return Pending(
        upstream, app, max(first, 1) - 1, at.position, is_first=False, last=min(last, at.position), mark=mark
    )


def entry_for(
    table: Table,
    step: Literal["merge", "history", "refresh", "position", "redrive", "replay"],
    source: Literal["memory", "feed", "full", "lane"],
    clock: datetime,
    consumed: Sequence[Pending],
) -> LedgerEntry:
    """The entry of a step that consumes these versions.

    Its run id follows from where the step begins: run again after a crash, it may take up more, under the same id.
    """
    generation = table.generation()
    return LedgerEntry(
        table=table.name,
        step=step,
        run_id=ledger.run_id(table.name, generation, *(_begins(one) for one in consumed)),
        clock=clock,
        generation=generation,
        engine="none",
        source=source,
        upstreams={one.upstream.name: (one.position, one.to) for one in consumed if one.mark is None},
        replayed={one.upstream.name: (one.position + 1, one.last) for one in consumed if one.mark is not None},
    )


def _begins(one: Pending) -> str:
    again = "" if one.mark is None else f"-{one.last} again"
    return f"{one.upstream.name}@{one.position}{again}"


def commit_nothing(table: Table, clock: datetime, consumed: Sequence[Pending]) -> StepOutcome:
    """Move the positions over versions that changed no rows."""
    entry = entry_for(table, "position", "feed", clock, consumed)
    return StepOutcome(entry, table.commit_position(commit_for(entry, consumed)))


def commit_for(entry: LedgerEntry, consumed: Sequence[Pending]) -> Commit:
    """The commit that moves the position in each upstream that was consumed."""
    return Commit({one.app: one.keeps for one in consumed if not one.is_empty}, entry)
