"""What can go wrong while a table is written, each error writing its own sentence."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import SluiceError


class IncompatibleTable(SluiceError):
    """A table in the lake has other columns than its spec asks for."""

    def __init__(self, table: str, path: str, differences: Sequence[str]) -> None:
        self.table, self.path, self.differences = table, path, tuple(differences)
        # What bronze has need not be in the topic any more.
        remedy = (
            "Take the change back (runbooks/operations/plan.md)."
            if table.startswith("bronze.")
            else "Move the folder aside, and the table is rebuilt from its upstream, or take the change back "
            "(runbooks/operations/failed-table.md)."
        )
        super().__init__(f"{table} at {path} does not fit its spec: {'; '.join(differences)}. {remedy}")


class UnreadableLaneFile(SluiceError):
    """A file in an error lane is cut short, or is not one that was written there as a lane's file."""

    def __init__(self, table: str, file: str, why: str) -> None:
        self.table, self.file, self.why = table, file, why
        super().__init__(
            f"In the error lane of {table}, {file} can not be read: {why}. "
            "Restore it from a copy, or move it out of the lane if it does not belong there."
        )
