"""Regular expressions that mean the same to Python, to Java and to RE2, and how each is told them.

`\\d`, `\\w`, `\\s` and `\\b` are those of ASCII; `.` is anything but a line feed, and `$` the end or just before a line
feed that ends the text, as Python has both.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc


def is_regex(pattern: str) -> bool:
    """Whether it is a regular expression."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def is_portable(pattern: str) -> bool:
    """Whether RE2 reads it: what looks around or back has no meaning there, and `\\Z` is another place in each."""
    if re.search(r"(?<!\\)(\\\\)*\\Z", pattern):
        return False
    try:
        pc.match_substring_regex(pa.array([""]), pattern=for_re2(pattern))
    except pa.ArrowInvalid:
        return False
    return True


def for_java(pattern: str) -> str:
    """The pattern for Java, with line feeds as the only ends of lines."""
    return f"(?d){pattern}"


def for_re2(pattern: str) -> str:
    """The pattern for RE2, where `$` would be the very end."""
    parts, at, in_class = [], 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            parts.append(pattern[at : at + 2])
            at += 2
            continue
        if char == "[" and not in_class:
            in_class = True
        elif char == "]" and in_class and pattern[at - 1] != "[" and pattern[at - 2 : at] != "[^":
            in_class = False
        parts.append(r"(?:\n?\z)" if char == "$" and not in_class else char)
        at += 1
    return "".join(parts)
