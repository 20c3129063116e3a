"""When the tombstones of a table are collected: rarely, after a horizon, and never so that it slows the table down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from deltalake.exceptions import DeltaError

from sinks.tombstones import Tombstones
from streams import logs

log = logs.get(__name__)

_LEAST_TIME_BETWEEN = timedelta(hours=1)


@dataclass
class Collection:
    """Collects the tombstones of one table that are older than `days`; None keeps them for good.

    A collected tombstone makes every change below it one that may have to be looked up in bronze. So only those are
    collected that stand below all that was read in the time since the last look: an order that two partitions count
    each for itself, or one value far in the future, would else have each new key looked up.
    """

    days: int | None
    looked_at: datetime | None = None
    least: Mapping[str, Any] | None = None

    def after(self, table: str, tombstones: Tombstones, least: Mapping[str, Any] | None, clock: datetime) -> int:
        """Collect after a batch with this clock, of which `least` is the least `_sequence`; returns how many.

        The batches of an hour have one look together, by their clocks. A failure is logged, and the next hour tries
        again: the table itself is committed already.
        """
        if self.days is None:
            return 0
        seen = [one for one in (self.least, least) if one is not None]
        self.least = min(seen, key=lambda one: tuple(one.values()), default=None)
        if self.looked_at is not None and clock - self.looked_at < _LEAST_TIME_BETWEEN:
            return 0
        below, self.least, self.looked_at = self.least, None, clock
        if below is None:
            return 0
        try:
            count = tombstones.collect(clock - timedelta(days=self.days), below)
        except (OSError, pa.ArrowException, DeltaError) as error:
            log.warning("tombstones not collected", table=table, error=error, remedy="It is tried again in an hour.")
            return 0
        if count:
            log.info("tombstones collected", table=table, count=count)
        return count
