"""How long rejected records are kept: each table's error lane, by its spec or the setting."""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime, time, timedelta

import pyarrow as pa
from deltalake.exceptions import DeltaError

from checkpoints.lake import Lake
from schemas.errors import SluiceError
from schemas.pipeline import Pipeline
from schemas.settings import Settings
from schemas.spec import BronzeSpec, ChangeSpec, TableSpec
from sinks.lanes.positions import held_in
from sinks.lanes.retention import Expiry, expire, expire_aside
from streams import logs

log = logs.get(__name__)


def retention_days(spec: TableSpec, settings: Settings) -> int | None:
    """Days that the table's lane keeps its records; None where it keeps them for ever, or where there is no lane."""
    if not isinstance(spec, BronzeSpec | ChangeSpec):
        return None
    return spec.lane_retention_days or settings.lane_retention_days


def expire_lanes(lake: Lake, pipeline: Pipeline, settings: Settings, today: date) -> list[Expiry]:
    """Remove, and log, what the lanes of a pipeline have kept for long enough by `today` (UTC).

    A day is kept for that many days after it is over. Tables of which nothing was removed are left out. A lane that
    can not be read or removed is left as it is, with a warning; the others are not.
    """
    found = []
    for name in pipeline.order:
        days = retention_days(pipeline.tables[name], settings)
        if days is None:
            continue
        try:
            if aside := expire_aside(lake, name, today - timedelta(days=days)):
                log.info("records that a rewind has moved aside expired", table=name, records=aside)
            gone = _expire(lake, pipeline.tables[name], today - timedelta(days=days))
        except (OSError, pa.ArrowException, DeltaError, SluiceError) as error:
            log.warning("error lane not expired", table=name, error=error, remedy="It is tried again in an hour.")
            continue
        if gone.days:
            dates = f"{gone.days[0]} to {gone.days[-1]}"
            log.info("error lane expired", table=name, dates=dates, records=gone.records, open=gone.open)
            found.append(gone)
    return found


def _expire(lake: Lake, spec: TableSpec, before: date) -> Expiry:
    held = functools.partial(held_in, lake.table(spec.table)) if isinstance(spec, BronzeSpec) else None
    # A batch that was cut short runs again under its old clock: what it writes has not been there for days.
    written_before = datetime.combine(before + timedelta(days=1), time(), UTC)
    return expire(lake, spec.table, before, held, written_before)
