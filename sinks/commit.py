"""What goes into a commit beside its rows: positions and the ledger's entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deltalake import CommitProperties, Transaction

from checkpoints.ledger import LedgerEntry


@dataclass(frozen=True)
class Commit:
    """The positions (application id -> version) that a commit moves, and its ledger entry."""

    positions: Mapping[str, int]
    entry: LedgerEntry

    def properties(self, engine: str) -> CommitProperties:
        """The same for delta-rs, which takes any number of positions in one commit."""
        entry = self.entry.model_copy(update={"engine": engine})
        return CommitProperties(
            custom_metadata={"userMetadata": entry.to_metadata()},
            app_transactions=[Transaction(app, version) for app, version in self.positions.items()],
        )
