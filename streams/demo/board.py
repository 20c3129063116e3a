"""What the views show: the phase, the traffic, the newest look, and the state of the service's parts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from streams.demo.sample import FACT
from streams.demo.traffic import Traffic
from streams.demo.watch import Look, Watcher
from streams.flow import Part
from streams.service import Service

_BROKEN = ("failed", "given up")


@dataclass
class Board:
    """Filled in as the parts come up; read by the view's thread."""

    started: float
    log: Path
    phase: str = "starting"
    service: Service | None = None
    watcher: Watcher | None = None
    traffic: Traffic | None = None
    seconds: int = 0
    service_has_ended: bool = False

    @property
    def elapsed(self) -> float:
        """Seconds since the demo was started."""
        return time.time() - self.started

    @property
    def look(self) -> Look:
        """The newest look; empty before the first one."""
        return self.watcher.look if self.watcher else Look()

    @property
    def first_gold_seconds(self) -> float | None:
        """After how many seconds the fact table had its first rows."""
        at = self.watcher.first_rows.get(FACT) if self.watcher else None
        return None if at is None else at - self.started

    def state_of(self, table: str) -> str:
        """The state of the query or worker behind a table."""
        if self.service is None:
            return "starting"
        if self.service_has_ended:
            return "stopped"
        return next((part.state for part in self._parts() if part.name == table), "starting")

    def problems(self) -> dict[str, str]:
        """Table -> what keeps its query or worker from running."""
        return {part.name: part.problem for part in self._parts() if part.state in _BROKEN}

    def _parts(self) -> list[Part]:
        return self.service.flow.parts if self.service is not None and self.service.flow is not None else []

    def headline(self) -> str:
        """Phase and traffic in one line."""
        parts = [self.phase]
        if self.traffic is not None and self.traffic.made:
            parts.append(
                f"traffic {self.traffic.elapsed_seconds:.0f} of {self.seconds} s, {self.traffic.made:,} changes"
            )
        if self.first_gold_seconds is not None:
            parts.append(f"first gold rows after {self.first_gold_seconds:.1f} s")
        return " · ".join(parts)
