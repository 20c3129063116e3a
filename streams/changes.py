"""From bronze rows to changes of keys: canonical columns, and the sequence that tells which of two changes is newer.

Every function here is DataFrame to DataFrame; nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StringType, StructField, StructType
from sqlglot import exp

from schemas import columns as c
from schemas import debezium
from schemas.hash_key import NO_KEY, HashKey
from schemas.pii import protected
from schemas.rules import RowRule
from schemas.spec import ChangeSpec, HistorySpec
from schemas.sql import UNREAD, parse_expression, references

TRUNCATED = "__truncated"
VIOLATIONS = "__violations"

_COORDINATES = (c.TOPIC, c.PARTITION, c.OFFSET)
_FLOOR = "__floor"
_NAMES = ArrayType(StringType())
_ALWAYS_READ = (debezium.OP, c.SOURCE_POSITION, c.UNAVAILABLE, *_COORDINATES, *c.INGEST_METADATA)
_OPAQUE: list[str | None] = [None, None]


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
    select = {**spec.select, **(rest or {})}
    return (
        bronze.transform(_with_flags, spec)
        .transform(_without_rowless_events)
        .transform(_with_floors, spec)
        .transform(_with_keys, spec)
        .select(
            *(
                F.col(_key_name(name)).alias(name) if name in spec.keys else F.expr(sql).alias(name)
                for name, sql in select.items()
            ),
            _sequence(spec).alias(c.SEQUENCE),
            c.DELETED,
            *c.INGEST_METADATA,
            *_COORDINATES,
            TRUNCATED,
            *_partial(spec, select, bronze.schema),
        )
        .transform(_with_unknown, spec)
        .withColumn(VIOLATIONS, _violations(spec, rules))
        .drop(_HALF_KNOWN)
        .transform(protected, spec, key)
    )


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
    if spec.schema_change == "evolve" or any(_is_opaque(tree) for tree in trees):
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


def _with_flags(bronze: DataFrame, spec: ChangeSpec) -> DataFrame:
    def flag(sql: str | None) -> Column:
        return F.coalesce(F.expr(sql).cast("boolean"), F.lit(False)) if sql else F.lit(False)

    return bronze.withColumns({c.DELETED: flag(spec.apply_as_deletes), TRUNCATED: flag(spec.apply_as_truncates)})


def _without_rowless_events(bronze: DataFrame) -> DataFrame:
    """Leave out Debezium events that carry no row, unless the spec gave them a meaning."""
    if not _is_debezium(bronze.schema):
        return bronze
    return bronze.where(F.col(debezium.OP).isin(*debezium.ROW_OPS) | F.col(TRUNCATED))


def _with_floors(bronze: DataFrame, spec: ChangeSpec) -> DataFrame:
    """A second row for one that completes a snapshot: the floor, which stands just before that snapshot's rows."""
    if not _is_debezium(bronze.schema) or tuple(spec.sequence_by) != (c.SOURCE_POSITION,):
        return bronze
    both, itself = F.array(F.lit(False), F.lit(True)), F.array(F.lit(False))
    floor = F.expr(debezium.snapshot_floor())
    return (
        bronze.withColumn(_FLOOR, F.explode(F.when(F.expr(debezium.completes_snapshot()), both).otherwise(itself)))
        .withColumn(c.SOURCE_POSITION, F.when(F.col(_FLOOR), floor).otherwise(F.col(c.SOURCE_POSITION)))
        .withColumn(TRUNCATED, F.col(TRUNCATED) | F.col(_FLOOR))
    )


def _violations(spec: ChangeSpec, rules: Sequence[RowRule]) -> Column:
    """What a change breaks; null for one that breaks nothing. A deletion has no row that rules could be about."""
    is_change = ~F.col(TRUNCATED)
    keyless = reduce(Column.__or__, (F.col(key).isNull() for key in spec.keys))
    broken = [_violation("key.null", "", is_change & keyless)]
    if declared := [name for name in spec.sequence_by if name != c.SOURCE_POSITION]:
        unplaced = reduce(Column.__or__, (F.col(c.SEQUENCE)[name].isNull() for name in declared))
        broken.append(_violation("sequence.null", "", unplaced))
    broken.append(_violation("change.partial", "", is_change & F.col(_HALF_KNOWN)))
    for rule in rules:
        applies = is_change & ~F.col(c.DELETED) & ~_is_unknown(rule.column)
        is_broken = applies & F.coalesce(F.expr(rule.broken()), F.lit(False))
        broken.append(_violation(rule.code, f"/{rule.column}", is_broken))
    found = F.array_compact(F.array(*broken))
    return F.when(F.size(found) > 0, found)


def _violation(rule: str, pointer: str, broken: Column) -> Column:
    fields = {"rule": rule, "pointer": pointer, "schema_path": ""}
    return F.when(broken, F.struct(*(F.lit(value).alias(name) for name, value in fields.items())))


def _is_unknown(column: str) -> Column:
    return F.coalesce(F.array_contains(F.col(c.UNKNOWN), column), F.lit(False))


def _key_name(column: str) -> str:
    return f"__key_{column}"


def _with_keys(bronze: DataFrame, spec: ChangeSpec) -> DataFrame:
    """The key columns; a delete's are read from `before`, of which nothing else may be believed."""
    keys = {_key_name(key): F.expr(spec.select[key]) for key in spec.keys}
    if debezium.AFTER not in bronze.columns or debezium.BEFORE not in bronze.columns:
        keys = {name: F.when(~F.col(TRUNCATED), key) for name, key in keys.items()}
        return bronze.withColumns(keys)
    kept = "__after"
    image = F.when(F.col(c.DELETED), F.col(debezium.BEFORE)).otherwise(F.col(debezium.AFTER))
    return (
        bronze.withColumn(kept, F.col(debezium.AFTER))
        .withColumn(debezium.AFTER, F.when(~F.col(TRUNCATED), image))
        .withColumns(keys)
        .withColumn(debezium.AFTER, F.when(~F.col(c.DELETED) & ~F.col(TRUNCATED), F.col(kept)))
    )


def _sequence(spec: ChangeSpec) -> Column:
    """The declared order, then the position in the source, so that the order is total."""
    declared = [F.expr(spec.select[name]).alias(name) for name in spec.sequence_by if name != c.SOURCE_POSITION]
    position = [F.col(f"{c.SOURCE_POSITION}.{field.name}").alias(field.name) for field in c.POSITION_TYPE.fields]
    return F.struct(*declared, *position)


_HALF_KNOWN = "__half_known"


def _partial(spec: ChangeSpec, select: Mapping[str, str], bronze: StructType) -> list[Column]:
    """`_unknown`, by what the source did not send, and whether a column would need both what it sent and did not."""
    columns = {name: _fields_read(sql) for name, sql in select.items() if name not in spec.keys}
    if c.UNAVAILABLE not in bronze.names or not _is_debezium(bronze):
        return [F.lit(None).cast(_NAMES).alias(c.UNKNOWN), F.lit(False).alias(_HALF_KNOWN)]

    def lacks(fields: Sequence[str]) -> Column:
        return F.arrays_overlap(F.col(c.UNAVAILABLE), F.array(*(F.lit(name) for name in fields)))

    fields = {name: [one for one in read if one is not None] for name, read in columns.items()}
    unknown = F.array_compact(F.array(*(F.when(lacks(read), F.lit(name)) for name, read in fields.items() if read)))
    half = [
        lacks(fields[name]) & ~reduce(Column.__and__, (lacks([one]) if one else F.lit(False) for one in read))
        if fields[name]
        else F.col(c.UNAVAILABLE).isNotNull()
        for name, read in columns.items()
        if len(read) > 1 or read == _OPAQUE
    ]
    some = F.col(c.UNAVAILABLE).isNotNull() & ~F.col(TRUNCATED)
    is_half = reduce(Column.__or__, half, F.lit(False))
    return [
        F.when(some & (F.size(unknown) > 0), unknown).alias(c.UNKNOWN),
        F.coalesce(some & is_half, F.lit(False)).alias(_HALF_KNOWN),
    ]


def _fields_read(sql: str) -> list[str | None]:
    """The fields of the image that an expression reads; None stands for anything else that it reads."""
    tree = parse_expression(sql)
    paths = {str(reference) for reference in references(tree)}
    if _is_opaque(tree):
        return _OPAQUE
    prefix = f"{debezium.AFTER}."
    return sorted(
        {path.removeprefix(prefix).split(".")[0] if path.startswith(prefix) else None for path in paths},
        key=lambda name: name or "",
    )


def _is_opaque(tree: exp.Expr) -> bool:
    """Whether it can not be told which columns an expression reads."""
    return tree is UNREAD or tree.find(exp.Query, exp.JSONExtract) is not None


def _with_unknown(changes: DataFrame, spec: ChangeSpec) -> DataFrame:
    """Under `ignore_null_updates`, what is null is not told."""
    if not spec.ignore_null_updates:
        return changes
    own = [name for name in changes.columns[: changes.columns.index(c.SEQUENCE)] if name not in spec.keys]
    nulls = F.array_compact(F.array(*(F.when(F.col(name).isNull(), F.lit(name)) for name in own)))
    told = F.col(c.DELETED) | F.col(TRUNCATED) | (F.size(nulls) == 0)
    return changes.withColumn(c.UNKNOWN, F.when(~told, nulls))


def _is_debezium(bronze: StructType) -> bool:
    return debezium.OP in bronze.names and debezium.AFTER in bronze.names
