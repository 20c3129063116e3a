"""The circuit breaker: a batch of which too much is rejected is held back, instead of filling the error lane."""

from __future__ import annotations

import threading

from schemas.settings import BreakerSettings
from streams.errors import TooManyRejects
from streams.tally import Tally


class Breaker:
    """Holds back a batch with more rejects than the limits let through, until a person admits it."""

    def __init__(self, limits: BreakerSettings) -> None:
        self._limits = limits
        self._admitted = threading.Event()

    def admit(self) -> None:
        """Let the batch in hand through, whatever is rejected of it; the next one is held to the limits again."""
        self._admitted.set()

    def check(self, table: str, batch: str, tally: Tally) -> None:
        """Raise TooManyRejects where a limit is passed and nobody has admitted the batch."""
        limit = self._passed(tally)
        if limit is None:
            return
        if self._admitted.is_set():
            self._admitted.clear()
            return
        raise TooManyRejects(table, batch, tally.read, tally.reasons, limit)

    def _passed(self, tally: Tally) -> str | None:
        limits = self._limits
        if limits.most_rejects is not None and tally.rejected > limits.most_rejects:
            return f"`breaker.most_rejects` ({limits.most_rejects})"
        if tally.read >= limits.least_records and tally.rejected > limits.most_share * tally.read:
            return f"`breaker.most_share` ({limits.most_share:g})"
        return None
