"""A table and its rebuild, row for row: what tells rows apart, what is compared, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, MapType, StructType, VariantType

from schemas import columns as c
from schemas.masking import MASK
from schemas.spec import BronzeSpec, CurrentSpec, DerivedSpec, HistorySpec, Scd2Spec, TableSpec
from schemas.table_columns import VALID_FROM
from streams.verify.report import Difference, Kind

_ROW, _IS_LIVE, _LIVE, _REBUILT, _KIND, _COLUMNS = "__row", "__is_live", "__live", "__rebuilt", "__kind", "__columns"
_KINDS: tuple[Kind, ...] = ("missing", "extra", "different", "twice")
_COPY = ("partition", "offset")
"""Where in its topic the copy of a change stood that a history holds: of several, the one that came first."""


@dataclass(frozen=True)
class Compared:
    """Counts of rows on both sides, of keys that are equal, and of those that are not; with the first of these."""

    rows: int
    rebuilt_rows: int
    equal: int
    found: dict[Kind, int]
    differences: tuple[Difference, ...]


def row_key(spec: TableSpec) -> dict[str, Column]:
    """What tells the rows of a table apart, by a name for people."""
    match spec:
        case CurrentSpec():
            names: Sequence[str] = spec.keys
        case HistorySpec():
            change = {f"{c.SEQUENCE}.{field}": F.col(c.SEQUENCE)[field] for field in c.CHANGE_IDENTITY}
            return {**{name: F.col(name) for name in spec.keys}, **change}
        case Scd2Spec():
            names = (*spec.keys, VALID_FROM)
        case DerivedSpec():
            names = spec.grain
        case BronzeSpec():
            names = (c.TOPIC, c.PARTITION, c.OFFSET)
        case _:
            assert_never(spec)
    return {name: F.col(name) for name in names}


def compared_columns(spec: TableSpec, live: StructType, rebuilt: StructType) -> tuple[list[str], list[str], list[str]]:
    """The columns that are compared, those that only the table has, and those that only the rebuild has.

    All but the key's and the ingest metadata: those say when and by which run a row was written.
    """
    left_out = {*row_key(spec), *c.INGEST_METADATA}
    both = [name for name in live.names if name in rebuilt.names and name not in left_out]
    return both, _only(live, rebuilt), _only(rebuilt, live)


def compare(
    spec: TableSpec, live: DataFrame, rebuilt: DataFrame, *, shown: int, private: frozenset[str] = frozenset()
) -> Compared:
    """Compare rows; of the differences, `shown` are named, the keys that are `private` as `***`.

    Both sides are brought together by key in one shuffle, which Spark spills to disk as it has to. The driver gets the
    counts and the keys that are shown.
    """
    columns, *_ = compared_columns(spec, live.schema, rebuilt.schema)
    key = row_key(spec)
    places = {f"__key_{number}": column for number, column in enumerate(key.values())}
    values = {name: _comparable(spec, name, live.schema, rebuilt.schema) for name in columns}
    both = _side(live, places, values, is_live=True).unionByName(_side(rebuilt, places, values, is_live=False))
    judged = _judged(both, list(places), columns)
    counts = judged.agg(
        F.sum(_LIVE).alias("rows"),
        F.sum(_REBUILT).alias("rebuilt_rows"),
        *(F.count_if(F.col(_KIND) == kind).alias(kind) for kind in ("equal", *_KINDS)),
    ).collect()[0]
    found: dict[Kind, int] = {kind: counts[kind] for kind in _KINDS if counts[kind]}
    differences = _first(judged, dict(zip(places, key, strict=True)), shown, private) if found and shown else ()
    return Compared(counts["rows"] or 0, counts["rebuilt_rows"] or 0, counts["equal"], found, differences)


def _side(frame: DataFrame, places: Mapping[str, Column], values: Mapping[str, Column], *, is_live: bool) -> DataFrame:
    # A struct needs a field, also of a table that is all key.
    row = F.struct(F.expr("TRUE").alias("__there"), *(value.alias(name) for name, value in values.items()))
    keys = (column.alias(place) for place, column in places.items())
    return frame.select(*keys, row.alias(_ROW), F.lit(is_live).alias(_IS_LIVE))


def _judged(both: DataFrame, places: Sequence[str], columns: Sequence[str]) -> DataFrame:
    """Columns out: the key's, `__live` and `__rebuilt` (how many rows), `__kind`, `__columns` (those that differ)."""
    is_live = F.col(_IS_LIVE)
    sides = both.groupBy(*places).agg(
        F.count_if(is_live).alias(_LIVE),
        F.count_if(~is_live).alias(_REBUILT),
        F.first(F.when(is_live, F.col(_ROW)), ignorenulls=True).alias("__row_live"),
        F.first(F.when(~is_live, F.col(_ROW)), ignorenulls=True).alias("__row_rebuilt"),
    )
    here, there = F.col("__row_live"), F.col("__row_rebuilt")
    others = [F.when(~here[name].eqNullSafe(there[name]), F.lit(name)) for name in columns]
    differing = F.array_compact(F.array(*others)) if others else F.array().cast("array<string>")
    kind = (
        F.when(F.col(_LIVE) == 0, F.lit("missing"))
        .when(F.col(_REBUILT) == 0, F.lit("extra"))
        .when((F.col(_LIVE) > 1) | (F.col(_REBUILT) > 1), F.lit("twice"))
        .when(F.size(_COLUMNS) > 0, F.lit("different"))
        .otherwise(F.lit("equal"))
    )
    return sides.select(*places, _LIVE, _REBUILT, differing.alias(_COLUMNS)).withColumn(_KIND, kind)


def _first(judged: DataFrame, names: Mapping[str, str], shown: int, private: frozenset[str]) -> tuple[Difference, ...]:
    wanted = judged.where(F.col(_KIND) != "equal").orderBy(*names).limit(shown)
    found = wanted.select(*(F.col(place).cast("string").alias(place) for place in names), _KIND, _COLUMNS).collect()
    return tuple(
        Difference(
            row[_KIND],
            {
                name: MASK if name in private else "null" if row[place] is None else row[place]
                for place, name in names.items()
            },
            tuple(row[_COLUMNS]) if row[_KIND] == "different" else (),
        )
        for row in found
    )


def _comparable(spec: TableSpec, name: str, live: StructType, rebuilt: StructType) -> Column:
    """A column as something that two sides can be compared by."""
    if name == c.SEQUENCE and isinstance(spec, HistorySpec):
        return F.col(name).dropFields(*_COPY)
    if name == c.COLUMN_SEQUENCES:
        return F.array_sort(F.col(name))
    one, other = live[name].dataType, rebuilt[name].dataType
    if one != other or _is_unordered(one):
        return F.to_json(F.struct(F.col(name)))
    return F.col(name)


def _is_unordered(kind: DataType) -> bool:
    """Whether Spark has no comparison for values of this type."""
    match kind:
        case MapType() | VariantType():
            return True
        case ArrayType():
            return _is_unordered(kind.elementType)
        case StructType():
            return any(_is_unordered(field.dataType) for field in kind.fields)
    return False


def _only(one: StructType, other: StructType) -> list[str]:
    return [name for name in one.names if name not in other.names]
