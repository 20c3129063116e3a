"""From bronze rows to changes of keys: canonical columns, their sequence, and the newest change of each key.

Every function here is DataFrame to DataFrame; nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from schemas import columns as c
from schemas import debezium
from schemas.hash_key import NO_KEY, HashKey
from schemas.pii import protected
from schemas.rules import RowRule
from schemas.spec import ChangeSpec

TRUNCATED = "__truncated"
VIOLATIONS = "__violations"

_COORDINATES = (c.TOPIC, c.PARTITION, c.OFFSET)


def canonical_changes(
    bronze: DataFrame,
    spec: ChangeSpec,
    rules: Sequence[RowRule] = (),
    rest: Mapping[str, str] | None = None,
    key: HashKey = NO_KEY,
) -> DataFrame:
    """Bronze rows as changes.

    Columns out: those of `select` and of `rest` (name -> SQL), `_sequence` STRUCT, `_deleted` BOOLEAN, the ingest
    metadata of the bronze row, its Kafka coordinates, `__truncated` BOOLEAN for a row that empties the table (its keys
    are null), and `__violations` for a change that the table can not take: one without a key, or that breaks a rule.
    Rules are judged first; then what the spec calls personal is hashed with `key`, masked or dropped.
    """
    return (
        bronze.transform(_with_flags, spec)
        .transform(_without_rowless_events)
        .transform(_with_keys, spec)
        .select(
            *(
                F.col(_key_name(name)).alias(name) if name in spec.keys else F.expr(sql).alias(name)
                for name, sql in spec.select.items()
            ),
            *(F.expr(sql).alias(name) for name, sql in (rest or {}).items()),
            _sequence(spec).alias(c.SEQUENCE),
            c.DELETED,
            *c.INGEST_METADATA,
            *_COORDINATES,
            TRUNCATED,
        )
        .withColumn(VIOLATIONS, _violations(spec, rules))
        .transform(protected, spec, key)
    )


def is_taken() -> Column:
    """Whether a change of a key goes into the table."""
    return F.col(VIOLATIONS).isNull() & ~F.col(TRUNCATED)


def newest_per_key(changes: DataFrame, spec: ChangeSpec) -> DataFrame:
    """One row per key: the change with the greatest `_sequence`. Equal sequences are copies of one record."""
    rest = [name for name in changes.columns if name not in spec.keys]
    newest = F.max_by(F.struct(*rest), F.col(c.SEQUENCE)).alias("newest")
    return changes.groupBy(*spec.keys).agg(newest).select(*spec.keys, *(f"newest.{name}" for name in rest))


def once_per_change(changes: DataFrame, spec: ChangeSpec) -> DataFrame:
    """One row per key and change: copies of a change that was delivered again fall together."""
    identity = [f"{c.SEQUENCE}.{field}" for field in c.CHANGE_IDENTITY]
    named = [changes[field].alias(f"__{index}") for index, field in enumerate(identity)]
    rest = [name for name in changes.columns if name not in spec.keys]
    earliest = F.min_by(F.struct(*rest), F.col(c.SEQUENCE)).alias("earliest")
    grouped = changes.groupBy(*spec.keys, *named).agg(earliest)
    return grouped.select(*spec.keys, *(f"earliest.{name}" for name in rest))


def _with_flags(bronze: DataFrame, spec: ChangeSpec) -> DataFrame:
    def flag(sql: str | None) -> Column:
        return F.coalesce(F.expr(sql).cast("boolean"), F.lit(False)) if sql else F.lit(False)

    return bronze.withColumns({c.DELETED: flag(spec.apply_as_deletes), TRUNCATED: flag(spec.apply_as_truncates)})


def _without_rowless_events(bronze: DataFrame) -> DataFrame:
    """Leave out Debezium events that carry no row, unless the spec gave them a meaning."""
    if debezium.OP not in bronze.columns or debezium.AFTER not in bronze.columns:
        return bronze
    return bronze.where(F.col(debezium.OP).isin(*debezium.ROW_OPS) | F.col(TRUNCATED))


def _violations(spec: ChangeSpec, rules: Sequence[RowRule]) -> Column:
    """What a change breaks; null for one that breaks nothing. A deletion has no row that rules could be about."""
    keyless = F.expr(" OR ".join(f"`{key}` IS NULL" for key in spec.keys))
    broken = [_violation("key.null", "", keyless)]
    for rule in rules:
        is_broken = ~F.col(c.DELETED) & F.coalesce(F.expr(rule.broken()), F.lit(False))
        broken.append(_violation(rule.code, f"/{rule.column}", is_broken))
    found = F.array_compact(F.array(*broken))
    return F.when(~F.col(TRUNCATED) & (F.size(found) > 0), found)


def _violation(rule: str, pointer: str, broken: Column) -> Column:
    fields = {"rule": rule, "pointer": pointer, "schema_path": ""}
    return F.when(broken, F.struct(*(F.lit(value).alias(name) for name, value in fields.items())))


def _key_name(column: str) -> str:
    return f"__key_{column}"


def _with_keys(bronze: DataFrame, spec: ChangeSpec) -> DataFrame:
    """The key columns; a delete's are read from `before`, of which nothing else may be believed."""
    keys = {_key_name(key): F.expr(spec.select[key]) for key in spec.keys}
    if debezium.AFTER not in bronze.columns or debezium.BEFORE not in bronze.columns:
        return bronze.withColumns(keys)
    kept = "__after"
    image = F.when(F.col(c.DELETED), F.col(debezium.BEFORE)).otherwise(F.col(debezium.AFTER))
    return (
        bronze.withColumn(kept, F.col(debezium.AFTER))
        .withColumn(debezium.AFTER, image)
        .withColumns(keys)
        .withColumn(debezium.AFTER, F.when(~F.col(c.DELETED), F.col(kept)))
    )


def _sequence(spec: ChangeSpec) -> Column:
    """The declared order, then the position in the source, so that the order is total."""
    declared = [F.expr(spec.select[name]).alias(name) for name in spec.sequence_by if name != c.SOURCE_POSITION]
    position = [F.col(f"{c.SOURCE_POSITION}.{field.name}").alias(field.name) for field in c.POSITION_TYPE.fields]
    return F.struct(*declared, *position)


def change_columns(changes: StructType, *, with_deleted: bool) -> StructType:
    """The columns of the table that these changes are kept in."""
    own = changes.names[: changes.names.index(c.SEQUENCE)]
    names = [*own, c.SEQUENCE, *([c.DELETED] if with_deleted else []), *c.INGEST_METADATA]
    return StructType([StructField(name, changes[name].dataType) for name in names])
