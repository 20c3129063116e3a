"""What a bronze batch hands to the tables below it: its accepted rows, still in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from streams.compute import Rows


class SharedRows:
    """Rows in memory with several readers; the last one to release them frees them."""

    def __init__(self, rows: Rows, free: Callable[[], object]) -> None:
        self.rows = rows
        self._free = free
        self._readers = 1
        self._lock = threading.Lock()

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
