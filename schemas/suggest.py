"""The name that was probably meant, for errors about unknown ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 12


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that is most like `word`, upper and lower case being the same; none if nothing is near."""
    by_folded = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[near[0]] if near else None


def did_you_mean(word: str, choices: Iterable[str], otherwise: str = "") -> str:
    """`Did you mean ...?` where a choice is near, else the choices where they are few, else `otherwise`."""
    known = sorted(set(choices))
    if near := closest(word, known):
        return f"Did you mean `{near}`?"
    if known and len(known) <= MOST_LISTED:
        return f"Known: {quoted(known)}."
    return otherwise


def quoted(names: Iterable[str]) -> str:
    """The names in backquotes, with commas."""
    return ", ".join(f"`{name}`" for name in names)
