"""Where the columns of a query's result come from: which rows of which table it has need of for some of its rows."""

from __future__ import annotations

from dataclasses import dataclass

Place = tuple[str, str]
"""A table, and a column of it."""


@dataclass(frozen=True)
class Origin:
    """Where the values of a column come from, as they are; with `may_lack`, nulls come from an outer join as well.

    The rows of the result that have a value need, of the tables of these places, only the rows that have it there.
    """

    places: frozenset[Place]
    may_lack: bool = False

    def __or__(self, other: Origin) -> Origin:
        """Of a column that comes from both."""
        return Origin(self.places | other.places, self.may_lack or other.may_lack)


@dataclass(frozen=True)
class Follow:
    """Of the tables of `to`, only the rows are needed that have a value there which needed rows of `of` have."""

    of: frozenset[Place]
    to: frozenset[Place]
