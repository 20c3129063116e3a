"""What stops a query on purpose, each error writing its own sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.errors import SluiceError, WrongUsage
from schemas.suggest import did_you_mean


class Held(SluiceError):
    """A batch is held back: nothing of it was written, and nothing is lost. A person has to decide."""


class NoLane(WrongUsage):
    """A table that takes no records, and so rejects none."""

    def __init__(self, table: str, known: Sequence[str]) -> None:
        self.table = table
        super().__init__(f"`{table}` has no error lane. {did_you_mean(table, known, 'Name a bronze or silver table.')}")


class TooManyRejects(Held):
    """More of a batch was rejected than the circuit breaker lets through."""

    def __init__(self, table: str, batch: str, read: int, reasons: Mapping[str, int], limit: str, way: str) -> None:
        self.table, self.batch, self.read, self.reasons, self.limit = table, batch, read, dict(reasons), limit
        rejected = sum(reasons.values())
        most = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:3]
        why = ", ".join(f"{count} x {rule}" for rule, count in most)
        super().__init__(
            f"{table}: {rejected} of the {read} records of {batch} break the contract ({why}), more than {limit} lets "
            f"through. Nothing of the batch was written. Correct the producer or the contract, or let the records go "
            f"to the error lane with {way}."
        )


class SchemaFrozen(Held):
    """A record has a field that the contract does not name, and the table's schema is frozen."""

    def __init__(self, table: str, topic: str, fields: Sequence[str], batch: str) -> None:
        self.table, self.topic, self.fields, self.batch = table, topic, tuple(fields), batch
        super().__init__(
            f"{table} is frozen (`schema_change: freeze`), but {topic} has fields that the contract does not name: "
            f"{', '.join(f'`{name}`' for name in fields)}, in {batch}. Nothing of the batch was written. "
            "Add them to the contract, or choose another `schema_change`."
        )


class RegistryUnavailable(SluiceError):
    """The schema registry does not say which schemas there are: nothing can be decoded, and nothing is at fault."""

    def __init__(self, url: str, why: str) -> None:
        self.url, self.why = url, why
        super().__init__(
            f"The schema registry at {url} {why}. The query waits and asks again; no record is rejected for it."
        )
