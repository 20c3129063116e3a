"""Named places between two effects, at which a test lets the process die, stand still, fail or wait.

Nothing is reached unless the environment variable SLUICE_FAILPOINTS names a place when the process starts: `reach` is
then a function that does nothing, bound once.

    SLUICE_FAILPOINTS="bronze.before_append[bronze.orders]=kill@3;table.after_commit=sleep:5@0.1"

A rule is `<place>[<table>]=<action>@<when>`, several with `;`. The table may be left out. Actions: `kill` (SIGKILL to
the whole process group), `stop` (SIGSTOP to it), `raise`, `sleep:<seconds>`, `exit:<code>`. `@3` is the third time that
the place is reached, `@0.1` each time with that probability, from the seed SLUICE_FAILPOINTS_SEED; without, the first.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.errors import WrongUsage
from schemas.suggest import did_you_mean

VARIABLE: Final = "SLUICE_FAILPOINTS"
SEED: Final = "SLUICE_FAILPOINTS_SEED"

PLACES: Final[Mapping[str, str]] = {
    "bronze.planned": "Spark has written the offset log, and nothing else is done.",
    "bronze.before_lane": "The batch is judged; its lane folder is not yet replaced.",
    "bronze.before_append": "The lane folder is written, the rows are not.",
    "bronze.after_append": "The rows are committed, and not yet handed on.",
    "bronze.before_commit": "The batch was handed on; Spark's commit log does not know of it.",
    "silver.before_lane": "The changes are made; the silver lane is not yet replaced.",
    "silver.before_tombstones": "Deletions are known, and not yet kept.",
    "table.before_commit": "A table's rows and positions are about to be committed, by either engine.",
    "table.after_commit": "They are committed, and nobody was told.",
    "gate.before_verdict": "Rows are judged; the verdict and the approved version are not yet kept.",
    "rewind.between_tables": "One table of a rewind went back, the next one not yet.",
    "request.before_answer": "A request is carried out, and not yet answered.",
    "lease.before_renewal": "The holder of the lease is about to say that it lives.",
    "backfill.before_batch": "A batch of a backfill is planned, and not yet written.",
    "pull.before_watermark": "Pulled rows are in bronze; the watermark is not yet advanced.",
}
"""Every place, and what has happened when it is reached."""

_RULE = re.compile(
    r"^(?P<place>[a-z_.]+)(\[(?P<table>[a-z0-9_.]+)\])?="
    r"(?P<action>kill|stop|raise|sleep|exit)(:(?P<value>[0-9.]+))?(@(?P<when>[0-9.]+))?$"
)


class WrongFailpoint(WrongUsage):
    """A rule that is none, or names a place that is not there."""

    def __init__(self, rule: str, why: str) -> None:
        self.rule, self.why = rule, why
        super().__init__(f"{VARIABLE}: {rule}: {why}")


class Failpoint(Exception):
    """What a failpoint raises; it stands for whatever may fail there."""


@dataclass
class Rule:
    """One rule; `hit` is the time at which it holds, None where it is `chance` that says so."""

    place: str
    table: str | None
    action: str
    value: float
    hit: int | None
    chance: float
    times: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, text: str) -> Rule:
        """A rule from its text; raises WrongFailpoint."""
        match = _RULE.match(text)
        if match is None:
            raise WrongFailpoint(text, "Write <place>[<table>]=<action>@<when>, as bronze.before_append=kill@2.")
        place, when = match["place"], match["when"] or "1"
        if place not in PLACES:
            raise WrongFailpoint(text, did_you_mean(place, list(PLACES), f"There are {', '.join(PLACES)}."))
        is_chance = "." in when
        return cls(
            place=place,
            table=match["table"],
            action=match["action"],
            value=float(match["value"] or 1),
            hit=None if is_chance else int(when),
            chance=float(when) if is_chance else 0.0,
        )

    def holds(self, table: str, chance: random.Random) -> bool:
        """Whether the rule holds for this time."""
        if self.table is not None and self.table != table:
            return False
        with self.lock:
            self.times += 1
            return self.times == self.hit if self.hit is not None else chance.random() < self.chance


def _act(rule: Rule) -> None:
    match rule.action:
        case "kill":
            os.killpg(os.getpgrp(), signal.SIGKILL)
        case "stop":
            os.killpg(os.getpgrp(), signal.SIGSTOP)
        case "sleep":
            time.sleep(rule.value)
        case "exit":
            os._exit(int(rule.value))
        case "raise":
            raise Failpoint(f"{rule.place} was made to fail")


def from_environment(environment: Mapping[str, str]) -> Callable[[str, str], None]:
    """What `reach` is to be; raises WrongFailpoint."""
    texts = [text.strip() for text in environment.get(VARIABLE, "").split(";") if text.strip()]
    if not texts:
        return _nothing
    rules = [Rule.of(text) for text in texts]
    chance = random.Random(environment.get(SEED, "0"))  # noqa: S311 - which place fails is no secret

    def reached(place: str, table: str = "") -> None:
        # All of them count, before one of them raises.
        for rule in [rule for rule in rules if rule.place == place and rule.holds(table, chance)]:
            _act(rule)

    return reached


def _nothing(place: str, table: str = "") -> None:
    del place, table


try:
    reach: Callable[..., None] = from_environment(os.environ)
except WrongFailpoint as _error:
    raise SystemExit(str(_error)) from None
