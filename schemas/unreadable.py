"""Bytes that can not be read as a record."""

from __future__ import annotations


class Unreadable(Exception):
    """A record's bytes are not of the format that its topic has; `rule` is a stable code, `pointer` says where."""

    def __init__(self, rule: str, pointer: str = "") -> None:
        self.rule, self.pointer = rule, pointer
        super().__init__(rule)
