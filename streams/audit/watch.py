"""The audit as the service runs it, beside its queries: every bronze table in turn, counted and logged."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa
from deltalake.exceptions import DeltaError

from checkpoints.lake import Lake
from schemas.errors import SluiceError
from streams import logs
from streams.audit.table import audit
from streams.metrics import Metrics

log = logs.get(__name__)

_MOST_LOGGED = 5


def audit_tables(
    lake: Lake, tables: Iterable[str], metrics: Metrics, stopping: Callable[[], bool] = lambda: False
) -> None:
    """Audit what came since the last time, table by table.

    Differences are counted and logged. A table that can not be audited now is left with a warning: its metrics stay as
    they were, and it is tried again the next time.
    """
    for name in tables:
        if stopping():
            return
        try:
            found = audit(lake, name)
        except (OSError, pa.ArrowException, DeltaError, SluiceError) as error:
            log.warning("table not audited", table=name, error=error, remedy="It is tried again.")
            continue
        metrics.audited(name, len(found.differences))
        if found.differences:
            sentences = [one.text for one in found.differences[:_MOST_LOGGED]]
            log.error("audit found differences", table=name, differences=len(found.differences), newest=sentences)
