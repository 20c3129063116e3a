"""The versions of a key from its changes: SCD2 as one window computation, the same for any order of arrival.

SQL for both places; see streams/compute.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from pyspark.sql.types import DataType, TimestampNTZType, TimestampType

from schemas import columns as c
from schemas.spec import Scd2Spec
from schemas.table_columns import IS_CURRENT, VALID_FROM, VALID_TO
from streams.compute import Compute, Dialect, Rows

BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
"""Where the first version of a key starts, unless its spec says otherwise: earlier than any event."""

_HISTORY, _VERSIONS = "history_rows", "version_rows"


def own_columns(spec: Scd2Spec, history: Sequence[str]) -> list[str]:
    """The columns of a history that the versions have beside their keys."""
    return [name for name in history if name not in (*spec.keys, *c.INGEST_METADATA, c.SEQUENCE, c.DELETED, c.UNKNOWN)]


def tracked_columns(spec: Scd2Spec, history: Sequence[str]) -> list[str]:
    """The columns whose change makes a new version."""
    if spec.track_history_column_list is not None:
        return list(spec.track_history_column_list)
    left_out = spec.track_history_except_column_list or ()
    return [name for name in own_columns(spec, history) if name not in left_out]


def versions(compute: Compute, history: Rows, columns: Sequence[str], spec: Scd2Spec) -> Rows:
    """The versions of every key in `history`, whose columns are `columns`.

    A version starts at a change of a tracked column (NULL-safe), at the first change, and at the first after a
    deletion; it ends where the next one starts, or at a deletion. Columns that are not tracked take their newest
    value within the version. What a change does not tell (`_unknown`) is as it was before. A row without a key is a
    deletion of every key that was heard of before; the end of a snapshot (its position's `row` is negative) not of
    one that is in it.

    `valid_from` is the declared timestamp, made to grow with the position: a change that claims a time not after its
    predecessor's starts a microsecond after it, so no two versions of a key start together.

    Columns out: the keys, the history's other columns, `valid_from` TIMESTAMP (inclusive), `valid_to` TIMESTAMP
    (exclusive; null while open), `is_current` BOOLEAN.
    """
    d = compute.dialect
    own = own_columns(spec, columns)
    keys = d.names(spec.keys)
    per_key = f"PARTITION BY {keys} ORDER BY {c.SEQUENCE}"
    so_far = f"OVER ({per_key} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    row = d.struct({name: d.name(name) for name in own})
    tracked = d.struct({name: d.name(name) for name in tracked_columns(spec, columns)})
    start = d.timestamp("__happened")
    if spec.first_version == "beginning":
        start = f"CASE WHEN __number = 1 THEN {d.instant(BEGINNING)} ELSE {start} END"
    own_of_newest = ", ".join(f"__newest.{d.name(name)}" for name in own)
    text = f"""
        WITH ordered AS ({_with_floors(d, own, spec)}),
        known AS ({_with_known(d, own, keys, so_far)}),
        numbered AS (SELECT *, row_number() OVER ({per_key}) AS __number FROM known),
        timed AS (
            SELECT *, max({d.micros(d.name(spec.valid_from))} - __number) {so_far} + __number AS __happened,
                CASE WHEN NOT {c.DELETED} THEN {tracked} END AS __tracked
            FROM numbered
        ),
        compared AS (SELECT *, lag(__tracked) OVER ({per_key}) AS __earlier FROM timed),
        starting AS (
            SELECT *, CASE WHEN {c.DELETED} OR __tracked IS DISTINCT FROM __earlier THEN 1 ELSE 0 END AS __starts
            FROM compared
        ),
        grouped AS (SELECT *, sum(__starts) {so_far} AS __version FROM starting),
        spans AS (
            SELECT {keys}, __version, min(__happened) AS __happened, bool_or({c.DELETED}) AS __is_end,
                max_by({row}, {c.SEQUENCE}) AS __newest
            FROM grouped GROUP BY {keys}, __version
        ),
        ends AS (
            SELECT *, lead(__happened) OVER (PARTITION BY {keys} ORDER BY __version) AS __ends_at,
                row_number() OVER (PARTITION BY {keys} ORDER BY __version) AS __number
            FROM spans
        )
        SELECT {keys}{", " if own else ""}{own_of_newest}, {start} AS {VALID_FROM},
            {d.timestamp("__ends_at")} AS {VALID_TO}, __ends_at IS NULL AS {IS_CURRENT}
        FROM ends WHERE NOT __is_end
    """
    return compute.sql(text, {_HISTORY: history})


def broken_keys(compute: Compute, rows: Rows, spec: Scd2Spec) -> int:
    """How many keys' versions are not as they must be: an overlap, an empty span, several current rows, a wrong end."""
    d = compute.dialect
    keys = d.names(spec.keys)
    found = compute.row(
        f"""
        WITH spans AS (
            SELECT *, lead({VALID_FROM}) OVER (PARTITION BY {keys} ORDER BY {VALID_FROM}) AS __next_from
            FROM {_VERSIONS}
        )
        SELECT count(*) AS broken FROM spans
        WHERE {VALID_TO} <= {VALID_FROM} OR {VALID_FROM} IS NULL
            OR __next_from <= {VALID_FROM} OR __next_from < {VALID_TO}
            OR (__next_from IS NOT NULL AND {VALID_TO} IS NULL) OR {IS_CURRENT} <> ({VALID_TO} IS NULL)
        """,
        {_VERSIONS: rows},
    )
    return int(found["broken"])


def surrogate_key(d: Dialect, columns: Mapping[str, DataType]) -> str:
    """A 128-bit hash of the columns' values as 32 hex digits: the same after a rebuild, and in either place.

    Each value stands behind its length, so that neither a separator within a value nor a null makes two keys meet;
    a timestamp stands as microseconds, which the two places would write otherwise.
    """

    def text(name: str, kind: DataType) -> str:
        value = d.micros(d.name(name)) if isinstance(kind, TimestampType | TimestampNTZType) else d.name(name)
        as_text = f"CAST({value} AS {'STRING' if d.is_spark else 'VARCHAR'})"
        return f"coalesce(length({as_text}) || ':' || {as_text}, '~')"

    return f"md5({' || '.join(text(name, kind) for name, kind in columns.items())})"


def _with_floors(d: Dialect, own: Sequence[str], spec: Scd2Spec) -> str:
    """The changes of each key, and each floor as a deletion of each earlier key; most histories have no floor."""
    first = d.name(spec.keys[0])
    keys = d.names(spec.keys)
    rest = [*own, c.SEQUENCE, c.DELETED, c.UNKNOWN]
    # The fields by name, and a join where EXISTS would say it: Spark's optimiser loses track of fields in a subquery.
    fields = {field: f"{c.SEQUENCE}.{field} AS __{field}" for field in c.CHANGE_IDENTITY}
    same_key = " AND ".join(f"h.{d.name(key)} = k.{d.name(key)}" for key in spec.keys)
    same_place = " AND ".join(f"h.__{field} = f.__{field}" for field in fields if field != "row")
    return f"""
        SELECT {keys}, {d.names(rest)} FROM {_HISTORY} WHERE {first} IS NOT NULL
        UNION ALL
        SELECT {d.names(spec.keys, "k")}, {d.names(rest, "f")}
        FROM (SELECT *, {", ".join(fields.values())} FROM {_HISTORY} WHERE {first} IS NULL) f
        JOIN (SELECT {keys}, min({c.SEQUENCE}) AS __heard FROM {_HISTORY} WHERE {first} IS NOT NULL GROUP BY {keys}) k
            ON f.{c.SEQUENCE} > k.__heard
        LEFT JOIN (SELECT DISTINCT {keys}, {", ".join(fields.values())} FROM {_HISTORY} WHERE {first} IS NOT NULL) h
            ON f.__row < 0 AND {same_key} AND {same_place} AND h.__row = f.__row + 1
        WHERE h.__row IS NULL
    """


def _with_known(d: Dialect, own: Sequence[str], keys: str, so_far: str) -> str:
    """Each column as it is, or where a change does not tell it, as the newest change before it that did."""
    columns = ", ".join(
        f"CASE WHEN {c.UNKNOWN} IS NULL OR NOT array_contains({c.UNKNOWN}, '{name}') THEN {d.name(name)} "
        f"ELSE ({d.last_known(_told(d, name), so_far)}).value END AS {d.name(name)}"
        for name in own
    )
    return f"SELECT {keys}, {c.SEQUENCE}, {c.DELETED}, {columns} FROM ordered"


def _told(d: Dialect, name: str) -> str:
    """A column as a struct, null where a change does not tell it; a deletion tells that there is nothing."""
    value = d.struct({"value": f"CASE WHEN NOT {c.DELETED} THEN {d.name(name)} END"})
    return f"CASE WHEN {c.UNKNOWN} IS NULL OR NOT array_contains({c.UNKNOWN}, '{name}') THEN {value} END"
