"""What a batch teaches about itself before it can be written: columns for fields that no contract names."""

from __future__ import annotations

from typing import Final

from pyspark.sql.types import DataType, DoubleType, StringType

from schemas.contract import Contract
from schemas.contract_file import UNSTORABLE
from schemas.decode import Decoder
from schemas.spark_types import parse_type
from schemas.table_columns import row_in, with_metadata
from schemas.type_changes import with_field
from sinks.table import Table
from streams.errors import SchemaFrozen
from streams.judged import Judged
from streams.outcomes import Stamp

_MOST_COLUMNS: Final = 1000
"""Fields that are ever learned: a producer that puts keys where names belong would add columns without an end."""

_NUMBERS: Final = {"bigint", "double"}


class Learner:
    """Keeps the decoder of one bronze table, and teaches it what the records hold.

    Under `schema_change: evolve` a field that the contract does not name becomes a column of the type of its values;
    later values that do not fit it are kept in `_rescued_data`. Under `freeze` it stops the query.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def learn(self, judged: Judged, table: Table, stamp: Stamp, batch: str) -> bool:
        """Whether the batch taught something, so that it has to be judged again; raises SchemaFrozen."""
        policy = self.decoder.spec.schema_change
        if policy not in ("evolve", "freeze"):
            return False
        found = judged.new_fields()
        if found and policy == "freeze":
            names = sorted(".".join(path) for path in found)
            raise SchemaFrozen(self.decoder.spec.table, self.decoder.spec.source.topic, names, batch)
        row = self.decoder.row
        for path, kinds in sorted(found.items()):
            if _is_storable(path) and len(row.fields) < _MOST_COLUMNS:
                row = with_field(row, path, _common(kinds))
        if row == self.decoder.row:
            return False
        self.decoder = Decoder.of(self.decoder.spec, self.decoder.contract, row)
        table.add_columns(with_metadata(self.decoder.payload), stamp.clock)
        return True

    def adopt(self, contract: Contract, table: Table) -> None:
        """Judge by another contract from now on, keeping what was learned; the table is made to fit before."""
        spec = self.decoder.spec
        decoder = Decoder.of(spec, contract, row_in(spec, table.schema()))
        table.ensure(with_metadata(decoder.payload), spec.partition_by, additive=True)
        self.decoder = decoder


def _is_storable(path: tuple[str, ...]) -> bool:
    return all(name and not UNSTORABLE.intersection(name) for name in path)


def _common(kinds: set[str]) -> DataType:
    """The type that holds all of these: text, as JSON, where nothing else does."""
    if len(kinds) == 1:
        return parse_type(next(iter(kinds)))
    return DoubleType() if kinds <= _NUMBERS else StringType()
