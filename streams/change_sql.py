"""The query that makes changes of bronze rows, as one text of SQL, for Spark or for DuckDB.

A text, since a batch of some rows costs what its plan costs: put together column by column from Python, that is 1,400
calls into the JVM and 0.3 s; as a text it is one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from pyspark.sql.types import StructType
from sqlglot import exp

from schemas import columns as c
from schemas import debezium
from schemas.quality.rule import RowRule
from schemas.spec import ChangeSpec
from schemas.sql import UNREAD, parse_expression, references
from streams.compute import SPARK, Dialect
from streams.quality.conditions import broken, counts, missing

TRUNCATED: Final = "__truncated"
VIOLATIONS: Final = "__violations"
COORDINATES: Final = (c.TOPIC, c.PARTITION, c.OFFSET)

_FLOOR, _AFTER, _HALF_KNOWN, _FOUND = "__floor", "__after", "__half_known", "__found"
_OPAQUE: Final[tuple[str | None, ...]] = (None, None)


def as_written(sql: str) -> str:
    """An expression of a spec within a larger text for Spark: a comment at its end must not reach on."""
    return f"({sql}\n)"


@dataclass(frozen=True)
class ChangeQuery:
    """The query of one spec over bronze rows with these columns; `rest` has further columns of the row, name -> SQL."""

    bronze: StructType
    spec: ChangeSpec
    rules: Sequence[RowRule] = ()
    rest: Mapping[str, str] = field(default_factory=dict)

    @property
    def select(self) -> dict[str, str]:
        """The columns of the row."""
        return {**self.spec.select, **self.rest}

    def text(self, view: str, d: Dialect = SPARK, told: Callable[[str], str] = as_written) -> str:
        """The query over the rows of `view`, `told` giving the spec's expressions in its words; see canonical_changes.

        1. Flag deletions and truncates, and leave out Debezium's events that carry no row.
        2. Give what completes a snapshot a second row: the floor, which stands just before that snapshot's rows.
        3. Work out the keys; a delete's are read from `before`, of which nothing else may be believed.
        4. Work out the columns, the sequence, and what a partial change does not tell.
        5. Say what a change breaks.
        """
        return _Writer(self, d, told).text(view)


@dataclass(frozen=True)
class _Writer:
    query: ChangeQuery
    d: Dialect
    told: Callable[[str], str]

    def text(self, view: str) -> str:
        d, spec, bronze = self.d, self.query.spec, self.query.bronze
        is_image = is_debezium(bronze)
        flags = f"{self._flag(spec.apply_as_deletes)} AS {c.DELETED}, {self._flag(spec.apply_as_truncates)}"
        rows = f"SELECT *, {flags} AS {TRUNCATED} FROM {view}"
        if is_image:
            ops = ", ".join(d.text(op) for op in debezium.ROW_OPS)
            rows = f"SELECT * FROM ({rows}) WHERE {debezium.OP} IN ({ops}) OR {TRUNCATED}"
        if is_image and tuple(spec.sequence_by) == (c.SOURCE_POSITION,):
            rows = self._with_floors(rows)
        rows = self._with_keys(rows, has_before=is_image and debezium.BEFORE in bronze.names)
        select = self.query.select
        columns = ", ".join(
            f"{_key_name(name) if name in spec.keys else self.told(sql)} AS {d.name(name)}"
            for name, sql in select.items()
        )
        rows = (
            f"SELECT {columns}, {self._sequence()} AS {c.SEQUENCE}, {c.DELETED}, "
            f"{', '.join((*c.INGEST_METADATA, *COORDINATES))}, {TRUNCATED}, {self._partial()} FROM ({rows})"
        )
        if spec.ignore_null_updates:
            rows = self._with_nulls_unknown(rows, [name for name in select if name not in spec.keys])
        found = d.known(list(self._broken()))
        return (
            f"SELECT {d.all_but([_HALF_KNOWN, _FOUND])}, IF({d.length(_FOUND)} > 0, {_FOUND}, NULL) AS {VIOLATIONS} "
            f"FROM (SELECT *, {found} AS {_FOUND} FROM ({rows}))"
        )

    def _flag(self, sql: str | None) -> str:
        return f"coalesce(CAST({self.told(sql)} AS BOOLEAN), FALSE)" if sql else "FALSE"

    def _with_floors(self, rows: str) -> str:
        d = self.d
        floors = f"IF({debezium.completes_snapshot()}, {d.array(['FALSE', 'TRUE'])}, {d.array(['FALSE'])})"
        both = f"SELECT *, {d.each(floors)} AS {_FLOOR} FROM ({rows})"
        return (
            f"SELECT {d.all_but([c.SOURCE_POSITION, TRUNCATED, _FLOOR])}, "
            f"IF({_FLOOR}, {snapshot_floor(d)}, {c.SOURCE_POSITION}) AS {c.SOURCE_POSITION}, "
            f"({TRUNCATED} OR {_FLOOR}) AS {TRUNCATED} FROM ({both})"
        )

    def _with_keys(self, rows: str, *, has_before: bool) -> str:
        d, spec = self.d, self.query.spec
        told = {_key_name(key): self.told(spec.select[key]) for key in spec.keys}
        if not has_before:
            keys = ", ".join(f"IF({TRUNCATED}, NULL, {sql}) AS {name}" for name, sql in told.items())
            return f"SELECT *, {keys} FROM ({rows})"
        image = f"IF({c.DELETED}, {debezium.BEFORE}, {debezium.AFTER})"
        imaged = (
            f"SELECT {d.all_but([debezium.AFTER])}, {debezium.AFTER} AS {_AFTER}, "
            f"IF({TRUNCATED}, NULL, {image}) AS {debezium.AFTER} FROM ({rows})"
        )
        keys = ", ".join(f"{sql} AS {name}" for name, sql in told.items())
        return (
            f"SELECT {d.all_but([debezium.AFTER])}, IF({c.DELETED} OR {TRUNCATED}, NULL, {_AFTER}) "
            f"AS {debezium.AFTER} FROM (SELECT *, {keys} FROM ({imaged}))"
        )

    def _sequence(self) -> str:
        """The declared order, then the position in the source, so that the order is total."""
        declared = {name: self.told(self.query.spec.select[name]) for name in _declared(self.query.spec)}
        position = {field.name: f"{c.SOURCE_POSITION}.{self.d.name(field.name)}" for field in c.POSITION_TYPE.fields}
        return self.d.struct({**declared, **{name: value for name, value in position.items() if name not in declared}})

    def _partial(self) -> str:
        """`_unknown`, by what was not sent, and whether a column would need both what was sent and what was not."""
        d, spec, bronze = self.d, self.query.spec, self.query.bronze
        if c.UNAVAILABLE not in bronze.names or not is_debezium(bronze):
            return f"{d.no_texts} AS {c.UNKNOWN}, FALSE AS {_HALF_KNOWN}"
        read = {name: _fields_read(sql) for name, sql in self.query.select.items() if name not in spec.keys}
        named = {name: [field for field in fields if field is not None] for name, fields in read.items()}
        lacking = [f"IF({self._lacks(fields)}, {d.text(name)}, NULL)" for name, fields in named.items() if fields]
        unknown = d.known(lacking) if lacking else d.no_texts
        half = list(self._half_known(read, named)) or ["FALSE"]
        some = f"({c.UNAVAILABLE} IS NOT NULL AND NOT {TRUNCATED})"
        return (
            f"IF({some} AND {d.length(unknown)} > 0, {unknown}, NULL) AS {c.UNKNOWN}, "
            f"coalesce({some} AND ({' OR '.join(half)}), FALSE) AS {_HALF_KNOWN}"
        )

    def _half_known(self, read: Mapping[str, tuple[str | None, ...]], named: Mapping[str, list[str]]) -> Iterator[str]:
        for name, fields in read.items():
            if fields == _OPAQUE:
                yield "TRUE"
            elif len(fields) > 1 and named[name]:
                each = " AND ".join(self._lacks([field]) if field is not None else "FALSE" for field in fields)
                yield f"({self._lacks(named[name])} AND NOT ({each}))"

    def _lacks(self, fields: Sequence[str]) -> str:
        return self.d.overlaps(c.UNAVAILABLE, self.d.array([self.d.text(field) for field in fields]))

    def _with_nulls_unknown(self, rows: str, columns: Sequence[str]) -> str:
        """Under `ignore_null_updates`, what is null is not told."""
        d = self.d
        nulls = d.known([f"IF({d.name(name)} IS NULL, {d.text(name)}, NULL)" for name in columns])
        told = f"{c.DELETED} OR {TRUNCATED} OR {d.length(nulls)} = 0"
        return f"SELECT {d.all_but([c.UNKNOWN])}, IF({told}, NULL, {nulls}) AS {c.UNKNOWN} FROM ({rows})"

    def _broken(self) -> Iterator[str]:
        """What a change breaks, null for what it does not. A deletion has no row that rules could be about."""
        d, spec = self.d, self.query.spec
        is_change = f"NOT {TRUNCATED}"
        keyless = " OR ".join(f"{d.name(key)} IS NULL" for key in spec.keys)
        yield self._violation("key.null", "", f"{is_change} AND ({keyless})")
        if declared := _declared(spec):
            unplaced = " OR ".join(f"{c.SEQUENCE}.{d.name(name)} IS NULL" for name in declared)
            yield self._violation("sequence.null", "", unplaced)
        yield self._violation("change.partial", "", f"{is_change} AND {_HALF_KNOWN}")
        for rule in self.query.rules:
            read = d.array([d.text(name) for name in (*rule.columns, *rule.condition_columns)])
            untold = f"coalesce({d.overlaps(c.UNKNOWN, read)}, FALSE)"
            applies = f"{is_change} AND NOT {c.DELETED} AND NOT {untold} AND {counts(rule, d)}"
            breaks = f"NOT {missing(rule, d)} AND {broken(rule, d)}"
            yield self._violation(rule.code, f"/{rule.columns[0]}", f"{applies} AND {breaks}")

    def _violation(self, rule: str, pointer: str, broken: str) -> str:
        fields = {"rule": rule, "pointer": pointer, "schema_path": ""}
        return f"IF({broken}, {self.d.struct({name: self.d.text(value) for name, value in fields.items()})}, NULL)"


def snapshot_floor(d: Dialect) -> str:
    """SQL over bronze's columns: the position just before all rows of the snapshot that read a row.

    PostgreSQL (L, -1, -1), MySQL (n, pos, -2): a snapshot's rows all stand at one place, and this is a `row` less.
    """
    position = {field.name: f"{c.SOURCE_POSITION}.{d.name(field.name)}" for field in c.POSITION_TYPE.fields}
    return d.struct({**position, "row": f"{position['row']} - 1"})


def is_debezium(bronze: StructType) -> bool:
    """Whether these are the columns of Debezium's envelope."""
    return debezium.OP in bronze.names and debezium.AFTER in bronze.names


def is_opaque(tree: exp.Expr) -> bool:
    """Whether it can not be told which columns an expression reads."""
    return tree is UNREAD or tree.find(exp.Query, exp.JSONExtract) is not None


def _key_name(column: str) -> str:
    return f"__key_{column}"


def _declared(spec: ChangeSpec) -> list[str]:
    return [name for name in spec.sequence_by if name != c.SOURCE_POSITION]


@cache
def _fields_read(sql: str) -> tuple[str | None, ...]:
    """The fields of the image that an expression reads; None stands for anything else that it reads."""
    tree = parse_expression(sql)
    if is_opaque(tree):
        return _OPAQUE
    paths = {reference.parts for reference in references(tree)}
    fields = {path[1] if path[0] == debezium.AFTER and len(path) > 1 else None for path in paths}
    return tuple(sorted(fields, key=lambda name: name or ""))
