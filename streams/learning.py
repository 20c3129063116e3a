"""What a batch teaches about itself before it can be written: the schemas it was written with, columns to add."""

from __future__ import annotations

from typing import Final

from pyspark.sql.types import DataType, DoubleType, StringType, StructType

from schemas.contract import Contract
from schemas.contract_file import UNSTORABLE
from schemas.decode import Decoder
from schemas.record_bytes import PENDING, AvroReader, Reader, ids_of, reader_for
from schemas.spark_types import parse_type
from schemas.spec import BronzeSpec
from schemas.table_columns import row_in, with_metadata
from schemas.type_changes import with_field
from sinks.table import Table
from streams.errors import SchemaFrozen
from streams.judged import Judged
from streams.outcomes import Stamp
from streams.registry import SchemaRegistry

_MOST_COLUMNS: Final = 1000
"""Fields that are ever learned: a producer that puts keys where names belong would add columns without an end."""

_NUMBERS: Final = {"bigint", "double"}


class Learner:
    """Keeps the decoder of one bronze table, and teaches it what the records hold.

    Writer schemas of Avro are fetched from the registry when a record first names them. Under `schema_change: evolve` a
    field that the contract does not name becomes a column of the type of its values; later values that do not fit it
    are kept in `_rescued_data`. Under `freeze` it stops the query.
    """

    def __init__(
        self, spec: BronzeSpec, contract: Contract, writer_schema: str | None, registry: SchemaRegistry | None
    ) -> None:
        self._writer_schema = writer_schema
        self._registry = registry
        self.decoder = Decoder.of(spec, contract, reader=reader_for(spec, contract, writer_schema))

    def begin(self) -> None:
        """Take nothing for unknown that was unknown to the batch before."""
        reader = self.decoder.judge.reader
        if isinstance(reader, AvroReader) and any(text is None for _, text in reader.known):
            self._take(self.decoder.contract, self.decoder.row, reader.without_unknown())

    def learn(self, judged: Judged, table: Table, stamp: Stamp, batch: str) -> bool:
        """Whether the batch taught something, so that it has to be judged again.

        Raises SchemaFrozen, and RegistryUnavailable: nothing of the batch is written then.
        """
        return self.fetch(judged) or self._grow(judged, table, stamp, batch)

    def fetch(self, judged: Judged) -> bool:
        """Whether writer schemas were fetched that the batch needs; raises RegistryUnavailable."""
        reader = self.decoder.judge.reader
        if not isinstance(reader, AvroReader) or self._registry is None:
            return False
        ids = ids_of(judged.pointers(PENDING))
        if ids:
            self._take(self.decoder.contract, self.decoder.row, reader.knowing(self._registry.writer_schemas(ids)))
        return bool(ids)

    def adopt(self, contract: Contract, table: Table) -> None:
        """Judge by a contract from now on, keeping what was learned; the table is made to fit before."""
        spec, decoder = self.decoder.spec, self._over(contract, table)
        additive = spec.schema_change != "freeze"
        table.ensure(with_metadata(decoder.payload), spec.partition_by, additive=additive)
        self.decoder = decoder

    def look(self, table: Table) -> None:
        """Judge as whoever writes the table does, with the columns that it has; nothing is changed."""
        self.decoder = self._over(self.decoder.contract, table)

    def _over(self, contract: Contract, table: Table) -> Decoder:
        spec, before = self.decoder.spec, self.decoder.judge.reader
        reader = reader_for(spec, contract, self._writer_schema)
        if isinstance(reader, AvroReader) and isinstance(before, AvroReader):
            reader = reader.knowing(dict(before.known))
        return Decoder.of(spec, contract, row_in(spec, table.schema()), reader)

    def _grow(self, judged: Judged, table: Table, stamp: Stamp, batch: str) -> bool:
        spec = self.decoder.spec
        if spec.schema_change not in ("evolve", "freeze"):
            return False
        found = judged.new_fields()
        if found and spec.schema_change == "freeze":
            names = sorted(".".join(path) for path in found)
            raise SchemaFrozen(spec.table, spec.source.topic, names, batch)
        row = self.decoder.row
        for path, kinds in sorted(found.items()):
            if _is_storable(path) and len(row.fields) < _MOST_COLUMNS:
                row = with_field(row, path, _common(kinds))
        if row == self.decoder.row:
            return False
        self._take(self.decoder.contract, row, self.decoder.judge.reader)
        table.add_columns(with_metadata(self.decoder.payload), stamp.clock)
        return True

    def _take(self, contract: Contract, row: StructType, reader: Reader) -> None:
        self.decoder = Decoder.of(self.decoder.spec, contract, row, reader)


def _is_storable(path: tuple[str, ...]) -> bool:
    return all(name and not UNSTORABLE.intersection(name) for name in path)


def _common(kinds: set[str]) -> DataType:
    """The type that holds all of these: text, as JSON, where nothing else does."""
    if len(kinds) == 1:
        return parse_type(next(iter(kinds)))
    return DoubleType() if kinds <= _NUMBERS else StringType()
