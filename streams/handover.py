"""What a bronze batch hands to the tables below it: its accepted rows, still in memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from pyspark.sql import DataFrame


@dataclass
class SharedRows:
    """A persisted frame with several readers; the last one to release it frees the memory."""

    frame: DataFrame
    _cached: DataFrame
    _readers: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def retain(self) -> None:
        """One more reader."""
        with self._lock:
            self._readers += 1

    def release(self) -> None:
        """One reader less."""
        with self._lock:
            self._readers -= 1
            last = self._readers == 0
        if last:
            self._cached.unpersist()


@dataclass(frozen=True)
class Handover:
    """The rows that version `version` of `table` added, and the clock of the batch that added them.

    It stands for the change feed of that one version: a table whose position is `version - 1` may use it instead.
    """

    table: str
    version: int
    clock: datetime
    rows: SharedRows
