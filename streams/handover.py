"""What a bronze batch hands to the tables below it: its accepted rows, still in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame


class SharedRows:
    """Rows in memory with several readers; the last one to release them frees them.

    The frame is made when a reader first asks for it: a table that is behind never does.
    """

    def __init__(self, make: Callable[[], DataFrame], free: Callable[[], object]) -> None:
        self._make = make
        self._free = free
        self._frame: DataFrame | None = None
        self._readers = 1
        self._lock = threading.Lock()

    @property
    def frame(self) -> DataFrame:
        """The rows."""
        with self._lock:
            if self._frame is None:
                self._frame = self._make()
            return self._frame

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
            self._free()


@dataclass(frozen=True)
class Handover:
    """The rows that version `version` of `table` added, and the clock of the batch that added them.

    It stands for the change feed of that one version: a table whose position is `version - 1` may use it instead.
    """

    table: str
    version: int
    clock: datetime
    rows: SharedRows
