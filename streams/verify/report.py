"""What a verification found, in sentences and as JSON; keys that are personal are masked, values never shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["missing", "extra", "different", "twice"]


@dataclass(frozen=True)
class Difference:
    """One key that is not the same in the table and in its rebuild; `columns` are those that differ."""

    kind: Kind
    key: dict[str, str]
    columns: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As a sentence, without the table."""
        named = ", ".join(f"{name}={value}" for name, value in self.key.items())
        match self.kind:
            case "missing":
                return f"{named} is missing: a rebuild has it"
            case "extra":
                return f"{named} is there, and a rebuild does not have it"
            case "twice":
                return f"{named} is there more than once"
        return f"{named} differs in {', '.join(self.columns)}"


@dataclass(frozen=True)
class Verification:
    """One table beside its rebuild.

    `version` is that of the table which was compared, `bronze` the versions of the bronze tables that it was rebuilt
    from. `rows` are the table's and `rebuilt_rows` the rebuild's, of the sample where there is one. `equal` and `found`
    count keys; `differences` are the first of them. `notes` say what else a reader should know; with `problem` the
    table was not compared. `kept` is where the rebuild lies, where it was kept.
    """

    table: str
    version: int | None = None
    bronze: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    rebuilt_rows: int = 0
    equal: int = 0
    found: dict[Kind, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str | None = None
    kept: str | None = None

    @property
    def count(self) -> int:
        """How many keys differ."""
        return sum(self.found.values())

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "count": self.count}
