"""What the tables below bronze have to know of personal data while they run, and what they may not have taken along."""

from __future__ import annotations

from collections.abc import Callable, Collection

from schemas.contract import Contract
from schemas.hash_key import HashKey
from schemas.pii import Privacy
from schemas.spec import BronzeSpec, ChangeSpec
from schemas.tagged import Tagged


def privacy_of(spec: BronzeSpec, contract: Callable[[], Contract], key: HashKey) -> Privacy:
    """The privacy of the tables below a bronze table; `contract` gives the one that is in force."""
    known: tuple[str, Tagged] | None = None

    def is_tagged(field: str) -> bool:
        nonlocal known
        now = contract()
        if known is None or known[0] != now.hash:
            known = now.hash, Tagged.of(spec, now)
        return known[1].is_field(field)

    return Privacy(key, is_tagged)


def taken_along(spec: ChangeSpec, present: Collection[str], is_tagged: Callable[[str], bool]) -> list[str]:
    """What is wrong with the columns that a table took along from bronze before they were tagged, a clause each."""
    if spec.schema_change != "evolve":
        return []
    others = [name for name in present if not name.startswith("_") and name not in spec.select]
    return [
        f"column `{name}` of {spec.table} is tagged as personal now, and was taken along before: name it in `select` "
        "and `pii`, and make the table anew"
        for name in others
        if is_tagged(name)
    ]
