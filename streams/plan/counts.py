"""What judging recent records under a plan adds up to: counts by rule, and a few positions as examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeVar

from sinks.errors import UnreadableLaneFile

MOST_EXAMPLES: Final = 5

_T = TypeVar("_T")


@dataclass(frozen=True)
class Failing:
    """Rows of bronze that a rule would reject: `surely`, or `perhaps`, where it hangs on what can not be told any more.

    `examples` are positions, `topic[partition]@offset`.
    """

    rule: str
    surely: int
    perhaps: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Passing:
    """Open records of the lane, rejected by `rule`, that would be accepted."""

    rule: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class StillFailing:
    """Open records of the lane, rejected by `was`, that `rule` would reject."""

    was: str
    rule: str
    count: int


@dataclass(frozen=True)
class RecordPlan:
    """What becomes of the records of one bronze table.

    `rows` and `open` were judged; `rows_not_judged` do not keep to what is deployed either, `open_not_judged` could not
    be read, for the reason in `why_not_judged`. `passing_already` are open records that need only a redrive.
    """

    rows: int
    rows_not_judged: int
    open: int
    open_not_judged: int
    why_not_judged: str
    failing: tuple[Failing, ...]
    passing: tuple[Passing, ...]
    passing_already: int
    still_failing: tuple[StillFailing, ...]

    @property
    def breaks(self) -> bool:
        """Whether a record that is accepted today would, or might, be rejected."""
        return bool(self.failing)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass
class Counts:
    """Adds up."""

    rows: int = 0
    not_judged: int = 0
    open: int = 0
    open_not_judged: int = 0
    why_not_judged: str = ""
    is_registry_gone: bool = False
    already: int = 0
    sure: Counter[str] = field(default_factory=Counter)
    unsure: Counter[str] = field(default_factory=Counter)
    passing: Counter[str] = field(default_factory=Counter)
    still: Counter[tuple[str, str]] = field(default_factory=Counter)
    places: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def fails(self, rule: str, place: str, *, is_sure: bool) -> None:
        """A row of bronze that would be rejected."""
        (self.sure if is_sure else self.unsure)[rule] += 1
        self._example("fails", rule, place)

    def passes(self, was: str, place: str) -> None:
        """An open record that would be accepted."""
        self.open += 1
        self.passing[was] += 1
        self._example("passes", was, place)

    def passes_already(self) -> None:
        """An open record that what is deployed accepts as well."""
        self.open += 1
        self.already += 1

    def still_fails(self, was: str, rule: str) -> None:
        """An open record that would be rejected again."""
        self.open += 1
        self.still[was, rule] += 1

    def unreadable(self, error: UnreadableLaneFile) -> None:
        """A file of the lane that was left out."""
        self.why_not_judged = str(error)

    def plan(self) -> RecordPlan:
        """The sums, the most frequent first."""
        both = self.sure + self.unsure
        return RecordPlan(
            rows=self.rows,
            rows_not_judged=self.not_judged,
            open=self.open,
            open_not_judged=self.open_not_judged,
            why_not_judged=self.why_not_judged,
            failing=tuple(
                Failing(rule, self.sure[rule], self.unsure[rule], tuple(self.places["fails", rule]))
                for rule in _ordered(both)
            ),
            passing=tuple(
                Passing(rule, self.passing[rule], tuple(self.places["passes", rule])) for rule in _ordered(self.passing)
            ),
            passing_already=self.already,
            still_failing=tuple(StillFailing(was, rule, self.still[was, rule]) for was, rule in _ordered(self.still)),
        )

    def _example(self, kind: str, rule: str, place: str) -> None:
        places = self.places.setdefault((kind, rule), [])
        if len(places) < MOST_EXAMPLES:
            places.append(place)


def _ordered(counts: Counter[_T]) -> list[_T]:
    return sorted(counts, key=lambda one: (-counts[one], str(one)))
