"""Which columns of a bronze table may hold what its contract tags as personal (`"x-pii": true`).

Where it can not be told for certain, the answer is yes: a decision too many is a line in a spec, one too few a leak.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from schemas import columns as c
from schemas.applicable import Place, expanded, items, members
from schemas.contract import Contract
from schemas.masking import Masker, is_private
from schemas.spec import BronzeSpec
from schemas.sql import WITHOUT_PARENTHESES, NotSql, parse_expression, references, tells_its_columns

_WORD: Final = re.compile(r"\w+")
_UNDECLARED: Final = (c.KEY, c.RESCUED_DATA)
"""Columns in which the row's fields may stand, too, without a schema of their own."""

_NAMED: Final = ("properties", "patternProperties")
_OTHERS: Final = ("additionalProperties", "unevaluatedProperties")


@dataclass(frozen=True)
class Tagged:
    """The tags of a contract, as its bronze table's columns are named in SQL."""

    row: tuple[Place, ...]
    root: tuple[Place, ...]

    @classmethod
    def of(cls, spec: BronzeSpec, contract: Contract) -> Tagged:
        """The tags above the tables that are made from this one."""
        masker = Masker.of(spec, contract)
        return cls(masker.row, masker.root)

    @functools.cached_property
    def any(self) -> bool:
        """Whether anything is tagged."""
        return _holds(list(self.root), set())

    def is_field(self, name: str) -> bool:
        """Whether a field of the row is tagged, or holds something that is; the contract need not name it."""
        found = expanded(list(self.row))
        return is_private(found) or _holds(_below(found, name), set())

    def reads(self, *parts: str) -> bool:
        """Whether a column of bronze, as `("after", "email")`, may hold something that is tagged."""
        if parts[0].casefold() in _UNDECLARED:
            return self.any
        places = list(self.root)
        for part in parts:
            found = _with_elements(places)
            if is_private(found):
                return True
            places = _below(found, part)
        return _holds(places, set())

    def read_by(self, sql: str) -> str | None:
        """What an expression reads that may be tagged, as `after.email`; "" where that can not be told, else None."""
        if not self.any:
            return None
        try:
            tree = parse_expression(sql)
        except NotSql:
            return None  # which is a problem of its own
        if not tells_its_columns(tree):
            return ""
        found = next((str(one) for one in references(tree) if self.reads(*one.parts)), None)
        # Names that are functions without parentheses, as `user`, are columns to Spark where there are such.
        words = WITHOUT_PARENTHESES.intersection(_WORD.findall(sql.casefold()))
        return found or next((word for word in sorted(words) if self.reads(word)), None)


def _below(found: list[Place], name: str) -> list[Place]:
    """The schemas of a field; SQL does not tell upper from lower case."""
    declared = {one for place in found for one in place.schema.get("properties") or ()}
    names = {one for one in declared if one.casefold() == name.casefold()} or {name}
    return [place for one in names for place in members(found, one)]


def _with_elements(places: list[Place]) -> list[Place]:
    """All that speaks of the values, and of their elements where they are lists: `after.items.sku` is a path to SQL."""
    seen: set[str] = set()
    todo, found = places, []
    while todo:
        here = [place for place in expanded(todo) if not _is_known(place, seen)]
        found += here
        todo = items(here, None)
    return found


def _holds(places: list[Place], seen: set[str]) -> bool:
    """Whether something tagged stands at these places or below them."""
    found = [place for place in _with_elements(places) if not _is_known(place, seen)]
    return is_private(found) or any(_holds([below], seen) for place in found for below in _members(place))


def _members(place: Place) -> Iterator[Place]:
    for word in _NAMED:
        if isinstance(named := place.schema.get(word), dict):
            yield from (place.at(one) for one in named.values())
    yield from (place.at(place.schema[word]) for word in _OTHERS if isinstance(place.schema.get(word), dict))


def _is_known(place: Place, seen: set[str]) -> bool:
    """Whether a schema was met before: it may refer to itself."""
    where = place.resolver.base_uri if place.resolver is not None else ""
    text = f"{where} {json.dumps(place.schema, sort_keys=True)}"
    if text in seen:
        return True
    seen.add(text)
    return False
