"""The circuit breaker: a batch of which too much is rejected is held back, instead of filling the error lane."""

from __future__ import annotations

import threading

from schemas.settings import BreakerSettings
from streams.errors import TooManyRejects
from streams.tally import Tally

_ADMIT = "`sluice errors admit --table {table}`"


class Breaker:
    """Holds back a batch with more rejects than the limits let through, until a person admits it."""

    def __init__(self, limits: BreakerSettings, way: str = _ADMIT) -> None:
        self._limits, self._way = limits, way
        self._admitted = threading.Event()

    def for_backfill(self, *, admits: bool) -> Breaker:
        """The one of a backfill: it can not wait for a person, who says `--admit` where it is asked for once more."""
        open_to_all = BreakerSettings(most_rejects=None, most_share=1.0)
        return Breaker(open_to_all if admits else self._limits, way="the same command and `--admit`")

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
        raise TooManyRejects(table, batch, tally.read, tally.reasons, limit, self._way.format(table=table))

    def _passed(self, tally: Tally) -> str | None:
        limits = self._limits
        if limits.most_rejects is not None and tally.rejected > limits.most_rejects:
            return f"`breaker.most_rejects` ({limits.most_rejects})"
        if tally.read >= limits.least_records and tally.rejected > limits.most_share * tally.read:
            return f"`breaker.most_share` ({limits.most_share:g})"
        return None
