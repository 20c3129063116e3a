"""How far a table has come, kept in its own log as Delta transaction identifiers.

A position commits with the rows that it stands for, and every snapshot keeps it.
https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers
"""

from __future__ import annotations

from deltalake import DeltaTable

GENERATION_APP = "sluice/generation"
"""Kept as an identifier too: a RESTORE leaves it as it is, so that no generation comes twice."""


def app_id(upstream: str, step: str, generation: int) -> str:
    """The name under which a step's position in its query, or in its upstream as `source_name` gives it, is kept."""
    return f"{upstream}/{step}/g{generation}"


def source_name(upstream: str, table_id: str) -> str:
    """A table as a source of positions: its versions count from 0 again when it is made anew, under another id."""
    return f"{upstream}#{table_id[:8]}"


def generation(table: DeltaTable) -> int:
    """The generation of a table's positions."""
    return position(table, GENERATION_APP) or 0


def position(table: DeltaTable, app: str) -> int | None:
    """The batch id or upstream version that the table holds under `app`; None where it holds none."""
    found = table.transaction_version(app)
    return None if found is None else int(found)
