"""The side of the source: a table of a PostgreSQL database, in one transaction that reads one state of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql

from schemas.settings import SourceSettings
from schemas.spec import Reconcile
from streams.reconcile.columns import Columns
from streams.reconcile.errors import (
    NotComparable,
    PasswordFileNotRead,
    SourceFailed,
    SourceNotSet,
    SourceRefuses,
    SourceUnreachable,
)
from streams.reconcile.sides import Ranges, Row, Total
from streams.reconcile.values import INTEGERS, TEXTS, in_postgres, joined_in_postgres, parted, takes

Connection = psycopg.Connection[tuple[Any, ...]]

_PORT: Final = 5432
_STREAMED_ROWS: Final = 5_000
_OPTIONS: Final = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=iso_8601 -c extra_float_digits=1"
# What was written and is not yet flushed can be seen by others already; a replica stands where it has replayed to.
_POSITION: Final = """
    SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END)
        - '0/0'::pg_lsn
"""
_SLOTS: Final = """
    SELECT slot_name::text,
        (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END) - restart_lsn
    FROM pg_replication_slots
    WHERE slot_type = 'logical' AND database = current_database() AND restart_lsn IS NOT NULL
"""
_TYPES: Final = "SELECT oid::int, typname::text, typcategory::text FROM pg_type WHERE oid = ANY({})"
_BIGINT: Final = range(-(2**63), 2**63)


@contextmanager
def snapshot(table: str, reconcile: Reconcile, settings: SourceSettings | None, columns: Columns) -> Iterator[Postgres]:
    """The table as one transaction sees it; raises what errors.py has."""
    with _connected(table, reconcile.source, settings) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        try:
            yield Postgres(table, reconcile, columns, connection)
        except psycopg.Error as error:
            raise SourceFailed(table, reconcile.source, _why(error)) from None


def kept_for_slots(table: str, source: str, settings: SourceSettings | None) -> dict[str, int]:
    """Slot -> bytes of its log that the database keeps, since whoever reads the slot has not confirmed them.

    Of the logical slots of the source of a table, as of one moment; raises what errors.py has.
    """
    with _connected(table, source, settings) as connection:
        try:
            return {str(slot): int(kept) for slot, kept in connection.execute(_SLOTS).fetchall()}
        except psycopg.Error as error:
            raise SourceFailed(table, source, _why(error)) from None


class Postgres:
    """A table of the source at one moment; `position` is the LSN of its log then, at or after what is seen."""

    def __init__(self, table: str, reconcile: Reconcile, columns: Columns, connection: Connection) -> None:
        self._table, self._reconcile, self._columns, self._connection = table, reconcile, columns, connection
        self.position = int(self._all(_POSITION)[0][0])
        self._types = self._described()
        self._names = {name: sql.Identifier(f"c{at}").as_string() for at, name in enumerate(columns.names)}
        self._texts = {
            name: (kind, in_postgres(kind, self._types[name], self._names[name]))
            for name, kind in zip(columns.names, columns.kinds, strict=True)
        }
        self._key = joined_in_postgres([self._texts[name] for name in columns.keys])
        row = f"convert_to({joined_in_postgres(list(self._texts.values()))}, 'UTF8')"
        self._hash = f"substring(sha256({row}) FROM 1 FOR 16)"

    def totals(self, ranges: Ranges, only: Collection[int] | None) -> Mapping[int, Total]:
        """The total of each range that has rows; see Side."""
        part = f"('x' || encode(substring({self._hash} FROM 1 FOR 8), 'hex'))::bit(64)::bigint"
        found = self._all(
            f"SELECT place, count(*), sum(part) FROM (SELECT {self._place(ranges)} AS place, {part} AS part"  # noqa: S608
            f" FROM {self._rows()}{self._within(ranges, only)}) AS placed GROUP BY place"
        )
        return {int(place): Total(int(rows), int(hashes)) for place, rows, hashes in found}

    def digests(self, ranges: Ranges, only: Collection[int]) -> Iterator[tuple[str, bytes]]:
        """The key and the hash of each row of some ranges; see Side."""
        query = f"SELECT {self._key}, {self._hash} FROM {self._rows()}{self._within(ranges, only)}"  # noqa: S608
        with self._connection.cursor("reconciled") as cursor:
            cursor.itersize = _STREAMED_ROWS
            cursor.execute(query.encode())
            for key, digest in cursor:
                yield str(key), bytes(digest)

    def rows(self, keys: Collection[str]) -> Mapping[str, Sequence[Row]]:
        """The rows of some keys; see Side."""
        hashes = ", ".join(_short(joined_in_postgres([text])) for text in self._texts.values())
        found: dict[str, list[Row]] = defaultdict(list)
        for key, *row in self._all(
            f"SELECT {self._key}, {hashes} FROM {self._rows()} WHERE {self._among(keys)}"  # noqa: S608
        ):
            found[str(key)].append(tuple(row))
        return found

    def _rows(self) -> str:
        """The source's rows, each column by a name of ours."""
        named = ", ".join(f"(\n{self._reconcile.select[name]}\n) AS {short}" for name, short in self._names.items())
        return f"({self._selected(named)}) AS source_rows"

    def _selected(self, what: str, where: str = "TRUE") -> str:
        named = ".".join(sql.Identifier(part).as_string() for part in self._reconcile.table.split("."))
        # On lines of their own: a comment in them ends there.
        of_spec = f" AND (\n{self._reconcile.where}\n)" if self._reconcile.where else ""
        return f"SELECT {what} FROM {named} WHERE {where}{of_spec}"  # noqa: S608

    def _place(self, ranges: Ranges) -> str:
        """SQL for the range of a row."""
        if not ranges.bounds:
            return "0"
        bounds = self._literal(list(ranges.bounds), ranges)
        return f"coalesce(width_bucket({self._placed(ranges)}, {bounds}), 0)"

    def _placed(self, ranges: Ranges) -> str:
        return f"{self._names[self._columns.keys[0]]}::bigint" if ranges.of_numbers else f'{self._key} COLLATE "C"'

    def _within(self, ranges: Ranges, only: Collection[int] | None) -> str:
        """SQL that lets the rows of some ranges pass."""
        if only is None or len(only) == ranges.count:
            return ""
        # The key as the table has it, with no cast about it, so that an index on it can be used.
        key = self._columns.keys[0]
        value = self._names[key] if self._types[key] in INTEGERS and ranges.of_numbers else self._placed(ranges)
        spans = []
        for start, end in ranges.spans(only):
            sides = [] if start is None else [f"{value} >= {self._literal(start, ranges)}"]
            sides += [] if end is None else [f"{value} < {self._literal(end, ranges)}"]
            unplaced = f" OR {value} IS NULL" if start is None else ""
            spans.append(f"({' AND '.join(sides) or 'TRUE'}{unplaced})")
        return f" WHERE {' OR '.join(spans) or 'FALSE'}"

    def _among(self, keys: Collection[str]) -> str:
        """SQL that lets the rows of some keys pass, by an index where there is one for a column of the key."""
        conditions = [f"{self._key} = ANY({sql.Literal(list(keys)).as_string(self._connection)}::text[])"]
        values = list(zip(*(parted(key, self._columns.key_kinds) for key in keys), strict=True))
        for name, texts in zip(self._columns.keys, values, strict=True):
            if None in texts:
                continue
            given = sorted({str(text) for text in texts})
            type_ = self._types[name]
            if type_ in INTEGERS and all(text.lstrip("-").isdecimal() and int(text) in _BIGINT for text in given):
                conditions.append(f"{self._names[name]} = ANY('{{{','.join(given)}}}'::bigint[])")
            elif type_ in TEXTS:
                listed = sql.Literal(given).as_string(self._connection)
                conditions.append(f"{self._names[name]} = ANY({listed}::text[])")
        return " AND ".join(conditions)

    def _literal(self, value: int | str | list[int | str], ranges: Ranges) -> str:
        kind = "bigint" if ranges.of_numbers else "text"
        return f"{sql.Literal(value).as_string(self._connection)}::{kind}{'[]' if isinstance(value, list) else ''}"

    def _described(self) -> dict[str, str]:
        """The type of each column in the source; raises SourceRefuses and NotComparable."""
        self._try("table", self._selected("1", "FALSE") if not self._reconcile.where else self._bare())
        if self._reconcile.where:
            self._try("where", self._selected("1", "FALSE"))
        oids = {
            name: self._try(f"select.{name}", self._selected(f"(\n{self._reconcile.select[name]}\n)", "FALSE"))
            for name in self._columns.names
        }
        listed = sql.Literal(list(set(oids.values()))).as_string(self._connection)
        types = {oid: (name, category) for oid, name, category in self._all(_TYPES.format(listed))}
        for name, kind in zip(self._columns.names, self._columns.kinds, strict=True):
            type_, category = types[oids[name]]
            if not takes(kind, type_, category):
                why = f"it is `{type_}` in the source, and silver has a {kind} there"
                raise NotComparable(self._table, name, why)
        return {name: types[oid][0] for name, oid in oids.items()}

    def _bare(self) -> str:
        named = ".".join(sql.Identifier(part).as_string() for part in self._reconcile.table.split("."))
        return f"SELECT 1 FROM {named} WHERE FALSE"  # noqa: S608

    def _try(self, word: str, query: str) -> int:
        """The type of what a query gives that was made of a word of the spec; raises SourceRefuses."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(query.encode())
                return cursor.description[0].type_code if cursor.description else 0
        except psycopg.Error as error:
            # Class 42 is what is wrong with a statement: https://www.postgresql.org/docs/current/errcodes-appendix.html
            state = error.sqlstate or ""
            if state.startswith("42") and not isinstance(error, psycopg.errors.InsufficientPrivilege):
                raise SourceRefuses(self._table, self._reconcile.source, word, _why(error)) from None
            raise

    def _all(self, query: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query.encode())
            return cursor.fetchall()


@contextmanager
def _connected(table: str, source: str, settings: SourceSettings | None) -> Iterator[Connection]:
    for name in ("host", "database", "user"):
        if settings is None or getattr(settings, name) is None:
            raise SourceNotSet(table, source, name)
    assert settings is not None  # noqa: S101 - told above
    password = _password(source, settings)
    try:
        connection = psycopg.connect(
            host=settings.host,
            port=settings.port or _PORT,
            dbname=settings.database,
            user=settings.user,
            password=password,
            sslmode=settings.ssl_mode,
            sslrootcert=str(settings.ssl_ca_location) if settings.ssl_ca_location else None,
            connect_timeout=settings.timeout_seconds,
            application_name="sluice reconcile",
            client_encoding="utf8",
            options=_OPTIONS,
        )
    except psycopg.Error as error:
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        why = why.replace(password, "***") if password else why
        place = f"{settings.host}:{settings.port or _PORT}/{settings.database}"
        raise SourceUnreachable(source, place, why.rstrip(".")) from None
    with connection:
        yield connection


def _password(source: str, settings: SourceSettings) -> str | None:
    if settings.password_file is not None:
        try:
            return settings.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else None
            raise PasswordFileNotRead(source, settings.password_file, why or "it is not text") from None
    return settings.password.get_secret_value() if settings.password is not None else None


def _why(error: psycopg.Error) -> str:
    """What the database says, where that names tables and columns; of data it says the values too, so not that."""
    state = error.sqlstate or ""
    if state.startswith("42") and error.diag.message_primary:
        return error.diag.message_primary
    return f"{type(error).__name__}{f' (SQLSTATE {state})' if state else ''}"


def _short(text: str) -> str:
    return f"substring(encode(sha256(convert_to({text}, 'UTF8')), 'hex') FROM 1 FOR 16)"
