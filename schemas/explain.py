"""Sentences for what pydantic finds wrong with a value, without the value where it may be a secret."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails

from schemas.suggest import did_you_mean, quoted

LOWER_NAME = "a lower-case name: a letter, then letters, digits and `_`"

PATTERNS = {
    r"^(bronze|silver|gold)\.[a-z][a-z0-9_]*$": f"`bronze.`, `silver.` or `gold.`, and then {LOWER_NAME}",
    r"^[a-z][a-z0-9_]*$": LOWER_NAME,
    r"^(_source_position|[a-z][a-z0-9_]*)$": f"`_source_position` or {LOWER_NAME}",
    r"^[A-Za-z0-9._-]{1,249}$": "a topic name: up to 249 letters, digits, `.`, `_` and `-`",
    r"^[1-9][0-9]*[mg]$": "an amount of memory such as `3g` or `800m`",
    r"^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?$": "the name of a table, as `orders` or `public.orders`",
    r"^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*){0,2}$": "the name of a table, as `items` or `public.items`",
    r"^[A-Za-z0-9/_.-]{1,200}$": "a key: up to 200 letters, digits, `/`, `.`, `_` and `-`",
    r"^/[A-Za-z0-9/_.-]*$": "a path of parameters, as `/sluice`",
    r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.avsc$": "the name of a file that ends in `.avsc`, without a folder",
}
"""What each pattern in the models means to a person; a test holds that none is missing."""

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "`true` or `false`",
    "bool_parsing": "`true` or `false`",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "path_type": "a path",
}


def explain(error: ErrorDetails, *, show_input: bool = True) -> tuple[str, str]:
    """What is wrong and what to do, from pydantic's error; `show_input` false hides the value."""
    context: dict[str, Any] = error.get("ctx", {})
    given = _given(error["input"]) if show_input else "The value"
    match error["type"]:
        case "literal_error":
            return f"{given} is not a choice.", _among(error["input"], str(context["expected"]), show_input)
        case "string_pattern_mismatch":
            return f"{given} is not {PATTERNS[context['pattern']]}.", "Change it."
        case "too_short":
            return "It is empty.", "Name at least one."
        case "string_too_short":
            return "It is empty.", "Write it, or remove the key."
        case "tuple_type" if show_input and isinstance(error["input"], str):
            return f"{given} is not a list.", f"Write `[{error['input']}]`."
        case "greater_than":
            return f"{given} is not above {_number(context['gt'])}.", "Change it."
        case "greater_than_equal":
            return f"{given} is below {_number(context['ge'])}.", "Change it."
        case "less_than_equal":
            return f"{given} is above {_number(context['le'])}.", "Change it."
        case kind if kind in _WANTED:
            return f"{given} is not {_WANTED[kind]}.", f"Write {_WANTED[kind]}."
    return f"{error['msg'].removeprefix('Value error, ').rstrip('.')}.", "Change it."


def _given(value: object) -> str:
    match value:
        case None:
            return "Nothing"
        case bool():
            return f"`{str(value).lower()}`"
        case str() | int() | float():
            return f"`{value}`" if value != "" else "Empty text"
        case dict():
            return "A mapping"
        case list() | tuple():
            return "A list"
    return "The value"


def _among(value: object, expected: str, show_input: bool) -> str:
    choices: Sequence[str] = re.findall(r"'([^']*)'", expected) or re.findall(r"-?\d+", expected)
    if len(choices) == 1:
        return f"Write `{choices[0]}`."
    if show_input and isinstance(value, str):
        return did_you_mean(value, choices)
    return f"Known: {quoted(choices)}."


def _number(bound: float) -> str:
    return f"{bound:g}"
