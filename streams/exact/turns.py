"""Whether the next batch is worth trying in the driver, after values of which only Spark could tell."""

from __future__ import annotations

from dataclasses import dataclass

from streams import logs
from streams.exact.values import UNSURE

log = logs.get(__name__)

_MOST_LEFT = 64


@dataclass
class Turns:
    """One table's batches: after one that was left to Spark so are the next ones, the more the more often it happens.

    A feed of such values is not worked out twice for each batch.
    """

    table: str
    _left: int = 0
    _next_left: int = 1

    def is_drivers(self) -> bool:
        """Whether this batch is to be tried in the driver."""
        if self._left:
            self._left -= 1
            return False
        return True

    def went_well(self) -> None:
        """It was told."""
        self._next_left = 1

    def left_to_spark(self, error: Exception) -> None:
        """It was not."""
        why = UNSURE if UNSURE in str(error) else str(error)
        self._left, self._next_left = self._next_left, min(2 * self._next_left, _MOST_LEFT)
        log.debug("left to Spark", table=self.table, why=why, batches=self._left + 1)
