"""The reconciliation as the service runs it, beside its queries: table by table, counted and logged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from schemas.errors import SluiceError, WrongUsage
from schemas.pipeline import Pipeline
from schemas.settings import Settings
from streams import logs
from streams.metrics import Metrics
from streams.reconcile.postgres import kept_for_slots
from streams.reconcile.run import reconcile_tables, reconciled_tables
from streams.reconcile.table import Limits, Sleep

log = logs.get(__name__)

_MOST_LOGGED: Final = 5


def watch_sources(
    pipeline: Pipeline, settings: Settings, metrics: Metrics, sleep: Sleep, stopping: Callable[[], bool]
) -> None:
    """Reconcile every table that says where it comes from, and see what each source keeps for its replication slots.

    A table that can not be reconciled now is left with a warning: its metrics stay as they were, and it is tried again
    the next time.
    """
    asked: set[str] = set()
    for name in reconciled_tables(pipeline):
        if stopping():
            return
        try:
            [found] = reconcile_tables(pipeline, [name], settings, Limits(shown=_MOST_LOGGED), sleep)
        except WrongUsage as error:
            log.warning("table not reconciled", table=name, error=error, remedy="Correct the spec or the settings.")
            continue
        if stopping():
            return
        if found.problem is not None:
            log.warning("table not reconciled", table=name, problem=found.problem, remedy="It is tried again.")
            continue
        metrics.reconciled(name, found.count)
        if found.source not in asked:
            asked.add(found.source)
            _watch_slots(name, found.source, settings, metrics)
        if found.count:
            first = [one.text for one in found.differences]
            log.error("silver differs from its source", table=name, differences=found.count, first=first)


def _watch_slots(table: str, source: str, settings: Settings, metrics: Metrics) -> None:
    """Measure what a source keeps for slots that are not read on: it grows until the disk of the database is full."""
    try:
        kept = kept_for_slots(table, source, settings.sources.get(source))
    except SluiceError as error:
        log.warning("replication slots not seen", source=source, error=error)
        return
    for slot, size in kept.items():
        metrics.slot_kept(source, slot, size)
