"""What goes into a commit beside its rows: positions and the ledger's entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from checkpoints.ledger import LedgerEntry


@dataclass(frozen=True)
class Commit:
    """The positions (application id -> version) that a commit moves, and its ledger entry."""

    positions: Mapping[str, int]
    entry: LedgerEntry

    def metadata(self, engine: str) -> str:
        """The entry as one line of JSON, saying which engine made the commit."""
        return self.entry.model_copy(update={"engine": engine}).to_metadata()
