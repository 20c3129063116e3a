"""Waiting longer after each failure in a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Backoff:
    """Doubling waits in seconds, from `first` up to `most`."""

    first: float
    most: float
    failures: int = 0

    def failed(self) -> float:
        """Count a failure; how long to wait before the next try."""
        self.failures += 1
        return float(min(self.most, self.first * 2 ** min(self.failures - 1, 32)))

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0
