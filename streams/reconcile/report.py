"""What a reconciliation found, in sentences and as JSON; keys that are personal are masked, values never shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["missing_in_silver", "missing_in_source", "differs", "twice_in_silver", "twice_in_source"]


@dataclass(frozen=True)
class Difference:
    """One key that is not the same on both sides; `columns` are those that differ."""

    kind: Kind
    key: dict[str, str]
    columns: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As a sentence, without the table."""
        named = ", ".join(f"{name}={value}" for name, value in self.key.items())
        match self.kind:
            case "missing_in_silver":
                return f"{named} is not in silver"
            case "missing_in_source":
                return f"{named} is in silver, and not in the source"
            case "twice_in_silver":
                return f"{named} is in silver more than once"
            case "twice_in_source":
                return f"{named} is in the source more than once, so it is no key there"
        return f"{named} differs in {', '.join(self.columns)}"


@dataclass(frozen=True)
class Reconciliation:
    """One table and its source.

    `source_position` is where the source's log (LSN) stood when it was first read, `source_position_again` when the
    keys that differed were last read; `silver_version` and `silver_position`, the newest change of which silver holds a
    row, are those of that last look. `found` counts the differences by kind, `differences` are the first of them.
    `in_flight` keys differed at first and then did not, or were still changing at the end. `ranges_left` differ as
    well, and were not looked into. With `problem` the table was not reconciled.
    """

    table: str
    source: str
    source_table: str
    columns: tuple[str, ...] = ()
    source_rows: int = 0
    silver_rows: int = 0
    ranges: int = 0
    ranges_compared: int = 0
    ranges_differing: int = 0
    ranges_left: int = 0
    found: dict[Kind, int] | None = None
    in_flight: int = 0
    differences: tuple[Difference, ...] = ()
    source_position: str | None = None
    source_position_again: str | None = None
    silver_version: int | None = None
    silver_position: str | None = None
    silver_is_behind: bool | None = None
    problem: str | None = None

    @property
    def count(self) -> int:
        """How many differences there are: keys, and ranges that were not looked into."""
        return sum((self.found or {}).values()) + self.ranges_left

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "found": self.found or {}, "count": self.count}

    @property
    def position(self) -> str:
        """The state in which both sides were compared, as a sentence."""
        again = self.source_position_again
        looked = f", and {again} when the keys that differed were last read" if again else ""
        newest = f", whose newest change is at {self.silver_position}" if self.silver_position else ""
        text = (
            f"{self.source_table} at {self.source_position}{looked}; {self.table} version {self.silver_version}{newest}"
        )
        if self.count and self.silver_is_behind:
            text += ". What the source has changed since may still be on its way"
        return text


def lsn(position: int | None) -> str | None:
    """A position in PostgreSQL's log as it writes it: `0/16B3748`."""
    return None if position is None else f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
