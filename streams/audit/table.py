"""Are all records accounted for? What the ledger says, beside what tables and lanes really hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from deltalake import DeltaTable

from checkpoints import audit_state
from checkpoints.audit_state import AuditState, Difference, Totals
from checkpoints.commits import CommitLog
from checkpoints.lake import Lake
from streams.audit.lanes import UnknownState
from streams.audit.run import AuditRun

_ATTEMPTS = 3


@dataclass(frozen=True)
class TableAudit:
    """One bronze table; `version` is the one that was looked at, None where there is no table yet.

    `totals` are sums over all audited batches, or with `since` over those. `in_flight` are batches whose lane is there
    and whose rows are not yet. `files_read` counts the files of rows that this audit opened.
    """

    table: str
    version: int | None = None
    totals: Totals = field(default_factory=Totals)
    differences: tuple[Difference, ...] = ()
    in_flight: tuple[str, ...] = ()
    files_read: int = 0

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "table": self.table,
            "version": self.version,
            **self.totals.model_dump(),
            "differences": [one.model_dump(exclude_none=True) for one in self.differences],
            "in_flight": list(self.in_flight),
            "files_read": self.files_read,
        }


def audit(lake: Lake, table: str, *, full: bool = False, since: datetime | None = None) -> TableAudit:
    """Audit a bronze table; may run beside the service, and again: the answer is the same.

    Without `full` what an earlier audit has seen is not read again, unless a commit or a change of the lane touches
    it; differences are remembered until a full audit finds them gone. With `since` only batches with a later clock are
    looked at, and nothing is remembered. Raises UnreadableLaneFile, UnreadableOffsets.
    """
    path = lake.table(table)
    if not DeltaTable.is_deltatable(path):
        return TableAudit(table)
    if since is not None:
        version = int(DeltaTable(path).version())
        run = AuditRun(lake, table, _first_after(CommitLog(lake, table), version, since), version, since=since)
        run.run()
        return _result(table, run, run.differences.values())
    for _ in range(_ATTEMPTS):
        run, saved, state = _audit(lake, table, full=full)
        is_news = saved is None or state.model_copy(update={"revision": saved.revision}) != saved
        if not (is_news or run.marks.changed) or audit_state.save(lake, table, state, run.marks.changed):
            break
        # Another audit came to its end meanwhile: what it found must not be forgotten, so go on from there.
    return _result(table, run, state.differences)


def _audit(lake: Lake, table: str, *, full: bool) -> tuple[AuditRun, AuditState | None, AuditState]:
    at = DeltaTable(lake.table(table))
    version, table_id = int(at.version()), str(at.metadata().id)
    saved = audit_state.load(lake, table)
    before = saved if not full and saved and saved.table_id == table_id and saved.version <= version else None
    run = AuditRun(lake, table, before.version + 1 if before else CommitLog(lake, table).first(), version, before)
    try:
        run.run()
    except UnknownState:
        if before is None:
            raise
        return _audit(lake, table, full=True)
    remembered = {one.key: one for one in before.differences} if before else {}
    found = sorted({**remembered, **run.differences}.values(), key=_order)
    state = AuditState(
        revision=saved.revision + 1 if saved else 1,
        table_id=table_id,
        version=version,
        totals=run.totals,
        generations=run.ranges.generations,
        lanes=run.marks.days,
        differences=found,
    )
    return run, saved, state


def _first_after(log: CommitLog, version: int, since: datetime) -> int:
    """The oldest version that was committed after a time: a batch is committed after its clock."""
    first = version + 1
    for commit in log.down_from(version):
        if commit.at < since:
            break
        first = commit.version
    return first


def _result(table: str, run: AuditRun, differences: Any) -> TableAudit:
    found = tuple(sorted(differences, key=_order))
    return TableAudit(table, run.version, run.totals, found, tuple(run.in_flight), run.holdings.files_read)


def _order(one: Difference) -> tuple[bool, int, str]:
    return one.version is None, one.version or 0, one.text
