"""What a person can not decide at a gate, each error writing its own sentence."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.errors import SluiceError, WrongUsage
from schemas.suggest import did_you_mean


class NoGate(WrongUsage):
    """A table behind which nothing is judged."""

    def __init__(self, table: str, known: Iterable[str]) -> None:
        self.table = table
        remedy = did_you_mean(table, known, "Name a silver table that has rules in `dq.yml`.")
        super().__init__(f"`{table}` has no gate: nothing is judged there. {remedy}")


class NotHeld(SluiceError):
    """A gate that holds nothing back."""

    def __init__(self, table: str, version: int) -> None:
        self.table, self.version = table, version
        super().__init__(f"The gate of {table} holds nothing back: gold may read all up to version {version}.")


class NotDiscardable(SluiceError):
    """What is wrong is not in single rows, or the table has no lane to which they could go."""

    def __init__(self, table: str, why: str) -> None:
        self.table = table
        super().__init__(f"{table}: {why} Nothing was done. Correct the source, or let gold have it: `gate release`.")
