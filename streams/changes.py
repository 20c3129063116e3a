"""From bronze rows to changes of keys: canonical columns, and the sequence that tells which of two changes is newer.

Every function here is DataFrame to DataFrame; nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, StringType, StructField, StructType

from schemas import columns as c
from schemas import debezium
from schemas.hash_key import NO_KEY, HashKey
from schemas.pii import protected
from schemas.quality.rule import RowRule
from schemas.spec import ChangeSpec, HistorySpec
from schemas.sql import parse_expression, references
from streams.change_sql import COORDINATES, ChangeQuery, is_opaque

_ALWAYS_READ = (debezium.OP, c.SOURCE_POSITION, c.UNAVAILABLE, *COORDINATES, *c.INGEST_METADATA)


def canonical_changes(
    bronze: DataFrame,
    spec: ChangeSpec,
    rules: Sequence[RowRule] = (),
    rest: Mapping[str, str] | None = None,
    key: HashKey = NO_KEY,
) -> DataFrame:
    """Bronze rows as changes.

    Columns out: those of `select` and of `rest` (name -> SQL), `_sequence` STRUCT, `_deleted` BOOLEAN, `_unknown`
    ARRAY<STRING> (the columns whose value the change does not tell; null for most), the ingest metadata of the bronze
    row, its Kafka coordinates, `__truncated` BOOLEAN for what ends all that is older (its keys are null), and
    `__violations` for a change that the table can not take: one without a key or a sequence, or that breaks a rule.

    What ends all that is older is a TRUNCATE, or the end of a snapshot: a row of its own then, just before the rows of
    that snapshot, so that what they do not contain is gone.

    Rules are judged first; then what the spec calls personal is hashed with `key`, masked or dropped.
    """
    view = f"bronze_of_{spec.table.replace('.', '__')}"
    bronze.createOrReplaceTempView(view)
    query = ChangeQuery(bronze.schema, spec, rules, rest or {})
    return bronze.sparkSession.sql(query.text(view)).transform(protected, spec, key)


def change_columns(changes: StructType, spec: ChangeSpec) -> StructType:
    """The columns of the table that these changes are kept in."""
    own = changes.names[: changes.names.index(c.SEQUENCE)]
    names = [*own, c.SEQUENCE, *([c.DELETED, c.UNKNOWN] if isinstance(spec, HistorySpec) else [])]
    kept = [StructField(name, changes[name].dataType) for name in names]
    if not isinstance(spec, HistorySpec):
        kept.append(StructField(c.COLUMN_SEQUENCES, column_sequences_type(changes)))
    return StructType([*kept, *(StructField(name, changes[name].dataType) for name in c.INGEST_METADATA)])


def column_sequences_type(changes: StructType) -> ArrayType:
    """The type of `_column_sequences`: the columns of a row that are older than the row, and how old."""
    return ArrayType(
        StructType([StructField("name", StringType()), StructField("sequence", changes[c.SEQUENCE].dataType)])
    )


def only_what_is_read(bronze: pa.Table, spec: ChangeSpec) -> pa.Table:
    """Bronze rows without the columns, and the fields of images and `source`, that `spec` does not read.

    On the way into the JVM every value is copied, read or not.
    """
    sql = [one for one in (*spec.select.values(), spec.apply_as_deletes, spec.apply_as_truncates) if one is not None]
    trees = [parse_expression(one) for one in sql]
    if spec.schema_change == "evolve" or any(is_opaque(tree) for tree in trees):
        return bronze
    paths = {reference.parts for tree in trees for reference in references(tree)}
    images = {debezium.BEFORE, debezium.AFTER}
    fields: dict[str, set[str] | None] = {name: set() for name in _ALWAYS_READ}
    fields[debezium.SOURCE] = {"snapshot"}
    for path in paths:
        for name in images if path[0] in images else {path[0]}:
            of = fields.setdefault(name, set())
            if len(path) == 1:
                fields[name] = None
            elif of is not None:
                of.add(path[1])
    kept = {name: _narrowed(bronze[name], fields[name]) for name in bronze.column_names if name in fields}
    return pa.table(kept)


def _narrowed(column: pa.ChunkedArray, fields: set[str] | None) -> pa.ChunkedArray:
    """A struct with these of its fields alone; anything else as it is."""
    if not fields or not pa.types.is_struct(column.type):
        return column
    kept = [field for field in column.type if field.name in fields]
    chunks = [
        pa.StructArray.from_arrays(
            [pc.struct_field(chunk, field.name) for field in kept], fields=kept, mask=chunk.is_null()
        )
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, pa.struct(kept))
