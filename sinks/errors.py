"""What can go wrong while a table is written, each error writing its own sentence."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import SluiceError


class IncompatibleTable(SluiceError):
    """A table in the lake has other columns than its spec asks for."""

    def __init__(self, table: str, path: str, differences: Sequence[str]) -> None:
        self.table, self.path, self.differences = table, path, tuple(differences)
        super().__init__(
            f"{table} at {path} does not fit its spec: {'; '.join(differences)}. "
            "Move the folder aside, and the table is rebuilt from its upstream, or take the change back."
        )
