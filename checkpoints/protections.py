"""By which decisions the rows of a table were protected, and with which key, so that no table holds both kinds of rows.

| path                            | what                                                             |
|---------------------------------|------------------------------------------------------------------|
| `<root>/_ops/pii/<table>.json`  | column -> `hash`, `mask` or `drop`; the id of the key, not the key |
"""

from __future__ import annotations

from collections.abc import Collection

from pydantic import BaseModel, ConfigDict, ValidationError

from checkpoints.lake import Lake
from schemas.errors import SluiceError
from schemas.hash_key import HashKey
from schemas.spec import ChangeSpec, Protection
from schemas.suggest import quoted


class ProtectionChanged(SluiceError):
    """A table's rows are protected otherwise than its spec and the key say now."""

    def __init__(self, table: str, path: str, why: str) -> None:
        self.table, self.path = table, path
        super().__init__(
            f"{table} can not go on: {why}. Stop the service, move {path} aside and start: the table is made anew from "
            "bronze. Or take the change back. runbooks/operations/pii.md says what else holds the old values."
        )


class Protections(BaseModel):
    """What is kept of a table; `key` is None where nothing is hashed."""

    model_config = ConfigDict(frozen=True)

    columns: dict[str, Protection] = {}
    key: str | None = None

    @classmethod
    def of(cls, spec: ChangeSpec, key: HashKey) -> Protections:
        """What a spec asks for; raises InvalidSettings where it asks for a key that there is not."""
        decisions = spec.protections
        return cls(columns=decisions, key=key.id if "hash" in decisions.values() else None)

    def differing(self, other: Protections, present: Collection[str]) -> list[str]:
        """The columns among those present that are protected otherwise, or with another key."""
        named = sorted({*self.columns, *other.columns}.intersection(present))
        same_key = self.key == other.key
        return [
            name
            for name in named
            if (decision := self.columns.get(name)) != other.columns.get(name) or (decision == "hash" and not same_key)
        ]


def settle(lake: Lake, spec: ChangeSpec, key: HashKey, present: Collection[str]) -> None:
    """See that a table's rows are protected as its spec says, and keep that they are.

    `present` are the columns that the table has in the lake, none where it is not there yet. Harmless to repeat.
    Raises ProtectionChanged, and InvalidSettings.
    """
    wanted, kept = Protections.of(spec, key), _read(lake, spec.table)
    before = kept or Protections()
    if found := wanted.differing(before, present):
        if all(wanted.columns.get(name) == before.columns.get(name) for name in found):
            why = f"{quoted(found)} was hashed with the key {before.key}, and the key is {wanted.key} now"
        else:
            was = ", ".join(f"`{name}` was `{before.columns.get(name, 'keep')}`" for name in found)
            why = f"`pii` has changed for rows that are there: {was}"
        raise ProtectionChanged(spec.table, lake.table(spec.table), why)
    if wanted != before:
        lake.write(_path(lake, spec.table), wanted.model_dump_json().encode())


def _read(lake: Lake, table: str) -> Protections | None:
    text = lake.read(_path(lake, table))
    try:
        return Protections.model_validate_json(text) if text is not None else None
    except ValidationError:
        return None


def _path(lake: Lake, table: str) -> str:
    return f"{lake.root}/_ops/pii/{table}.json"
