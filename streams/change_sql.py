"""The query that makes changes of bronze rows, as one text of Spark SQL.

A text, since a batch of some rows costs what its plan costs: put together column by column from Python, that is 1,400
calls into the JVM and 0.3 s; as a text it is one call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from pyspark.sql.types import StructType
from sqlglot import exp

from schemas import columns as c
from schemas import debezium
from schemas.quality.rule import RowRule
from schemas.spec import ChangeSpec
from schemas.sql import UNREAD, parse_expression, references
from streams.compute import SPARK
from streams.quality.conditions import broken, counts, missing

TRUNCATED: Final = "__truncated"
VIOLATIONS: Final = "__violations"
COORDINATES: Final = (c.TOPIC, c.PARTITION, c.OFFSET)

_FLOOR, _AFTER, _HALF_KNOWN, _FOUND = "__floor", "__after", "__half_known", "__found"
_OPAQUE: Final[tuple[str | None, ...]] = (None, None)


def change_sql(
    view: str, bronze: StructType, spec: ChangeSpec, rules: Sequence[RowRule], rest: Mapping[str, str]
) -> str:
    """The query over the rows of `view`, which has the columns of `bronze`; see changes.canonical_changes.

    1. Flag deletions and truncates, and leave out Debezium's events that carry no row.
    2. Give what completes a snapshot a second row: the floor, which stands just before that snapshot's rows.
    3. Work out the keys; a delete's are read from `before`, of which nothing else may be believed.
    4. Work out the columns, the sequence, and what a partial change does not tell.
    5. Say what a change breaks.
    """
    is_image = is_debezium(bronze)
    rows = f"SELECT *, {_flag(spec.apply_as_deletes)} AS {c.DELETED}, {_flag(spec.apply_as_truncates)} AS {TRUNCATED} "
    rows += f"FROM {view}"
    if is_image:
        ops = ", ".join(f"'{op}'" for op in debezium.ROW_OPS)
        rows = f"SELECT * FROM ({rows}) WHERE {debezium.OP} IN ({ops}) OR {TRUNCATED}"
    if is_image and tuple(spec.sequence_by) == (c.SOURCE_POSITION,):
        rows = _with_floors(rows)
    rows = _with_keys(rows, spec, has_before=is_image and debezium.BEFORE in bronze.names)
    select = {**spec.select, **rest}
    columns = ", ".join(
        f"{_key_name(name)} AS {_quoted(name)}" if name in spec.keys else f"{_inline(sql)} AS {_quoted(name)}"
        for name, sql in select.items()
    )
    rows = (
        f"SELECT {columns}, {_sequence(spec)} AS {c.SEQUENCE}, {c.DELETED}, "
        f"{', '.join((*c.INGEST_METADATA, *COORDINATES))}, {TRUNCATED}, {_partial(spec, select, bronze)} FROM ({rows})"
    )
    if spec.ignore_null_updates:
        rows = _with_nulls_unknown(rows, [name for name in select if name not in spec.keys])
    return (
        f"SELECT * EXCEPT ({_HALF_KNOWN}, {_FOUND}), IF(size({_FOUND}) > 0, {_FOUND}, NULL) AS {VIOLATIONS} "
        f"FROM (SELECT *, array_compact(array({', '.join(_broken(spec, rules))})) AS {_FOUND} FROM ({rows}))"
    )


def is_debezium(bronze: StructType) -> bool:
    """Whether these are the columns of Debezium's envelope."""
    return debezium.OP in bronze.names and debezium.AFTER in bronze.names


def is_opaque(tree: exp.Expr) -> bool:
    """Whether it can not be told which columns an expression reads."""
    return tree is UNREAD or tree.find(exp.Query, exp.JSONExtract) is not None


def _inline(sql: str) -> str:
    """An expression of a spec within a larger text: a comment at its end must not reach on."""
    return f"({sql}\n)"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _flag(sql: str | None) -> str:
    return f"coalesce(CAST({_inline(sql)} AS BOOLEAN), FALSE)" if sql else "FALSE"


def _with_floors(rows: str) -> str:
    completes = debezium.completes_snapshot()
    both = f"SELECT *, explode(IF({completes}, array(FALSE, TRUE), array(FALSE))) AS {_FLOOR} FROM ({rows})"
    return (
        f"SELECT * EXCEPT ({c.SOURCE_POSITION}, {TRUNCATED}, {_FLOOR}), "
        f"IF({_FLOOR}, {debezium.snapshot_floor()}, {c.SOURCE_POSITION}) AS {c.SOURCE_POSITION}, "
        f"({TRUNCATED} OR {_FLOOR}) AS {TRUNCATED} FROM ({both})"
    )


def _key_name(column: str) -> str:
    return f"__key_{column}"


def _with_keys(rows: str, spec: ChangeSpec, *, has_before: bool) -> str:
    if not has_before:
        keys = ", ".join(f"IF({TRUNCATED}, NULL, {_inline(spec.select[key])}) AS {_key_name(key)}" for key in spec.keys)
        return f"SELECT *, {keys} FROM ({rows})"
    image = f"IF({c.DELETED}, {debezium.BEFORE}, {debezium.AFTER})"
    imaged = (
        f"SELECT * EXCEPT ({debezium.AFTER}), {debezium.AFTER} AS {_AFTER}, "
        f"IF({TRUNCATED}, NULL, {image}) AS {debezium.AFTER} FROM ({rows})"
    )
    keys = ", ".join(f"{_inline(spec.select[key])} AS {_key_name(key)}" for key in spec.keys)
    return (
        f"SELECT * EXCEPT ({debezium.AFTER}), IF({c.DELETED} OR {TRUNCATED}, NULL, {_AFTER}) AS {debezium.AFTER} "
        f"FROM (SELECT *, {keys} FROM ({imaged}))"
    )


def _sequence(spec: ChangeSpec) -> str:
    """The declared order, then the position in the source, so that the order is total."""
    declared = {name: _inline(spec.select[name]) for name in _declared(spec)}
    position = {field.name: f"{c.SOURCE_POSITION}.{_quoted(field.name)}" for field in c.POSITION_TYPE.fields}
    fields = {**declared, **{name: value for name, value in position.items() if name not in declared}}
    return f"named_struct({', '.join(f'{_literal(name)}, {value}' for name, value in fields.items())})"


def _declared(spec: ChangeSpec) -> list[str]:
    return [name for name in spec.sequence_by if name != c.SOURCE_POSITION]


def _array(items: Iterable[str]) -> str:
    return f"array({', '.join(items)})"


def _partial(spec: ChangeSpec, select: Mapping[str, str], bronze: StructType) -> str:
    """`_unknown`, by what the source did not send, and whether a column would need both what it sent and did not."""
    if c.UNAVAILABLE not in bronze.names or not is_debezium(bronze):
        return f"CAST(NULL AS ARRAY<STRING>) AS {c.UNKNOWN}, FALSE AS {_HALF_KNOWN}"
    read = {name: _fields_read(sql) for name, sql in select.items() if name not in spec.keys}
    named = {name: [field for field in fields if field is not None] for name, fields in read.items()}
    lacking = [f"IF({_lacks(fields)}, {_literal(name)}, NULL)" for name, fields in named.items() if fields]
    unknown = f"array_compact({_array(lacking)})" if lacking else "CAST(array() AS ARRAY<STRING>)"
    half = list(_half_known(read, named)) or ["FALSE"]
    some = f"({c.UNAVAILABLE} IS NOT NULL AND NOT {TRUNCATED})"
    return (
        f"IF({some} AND size({unknown}) > 0, {unknown}, NULL) AS {c.UNKNOWN}, "
        f"coalesce({some} AND ({' OR '.join(half)}), FALSE) AS {_HALF_KNOWN}"
    )


def _half_known(read: Mapping[str, tuple[str | None, ...]], named: Mapping[str, list[str]]) -> Iterator[str]:
    for name, fields in read.items():
        if fields == _OPAQUE:
            yield "TRUE"
        elif len(fields) > 1 and named[name]:
            each = " AND ".join(_lacks([field]) if field is not None else "FALSE" for field in fields)
            yield f"({_lacks(named[name])} AND NOT ({each}))"


def _lacks(fields: Sequence[str]) -> str:
    return f"arrays_overlap({c.UNAVAILABLE}, {_array(_literal(field) for field in fields)})"


@cache
def _fields_read(sql: str) -> tuple[str | None, ...]:
    """The fields of the image that an expression reads; None stands for anything else that it reads."""
    tree = parse_expression(sql)
    if is_opaque(tree):
        return _OPAQUE
    paths = {reference.parts for reference in references(tree)}
    fields = {path[1] if path[0] == debezium.AFTER and len(path) > 1 else None for path in paths}
    return tuple(sorted(fields, key=lambda name: name or ""))


def _with_nulls_unknown(rows: str, columns: Sequence[str]) -> str:
    """Under `ignore_null_updates`, what is null is not told."""
    nulls = f"array_compact({_array(f'IF({_quoted(name)} IS NULL, {_literal(name)}, NULL)' for name in columns)})"
    told = f"{c.DELETED} OR {TRUNCATED} OR size({nulls}) = 0"
    return f"SELECT * EXCEPT ({c.UNKNOWN}), IF({told}, NULL, {nulls}) AS {c.UNKNOWN} FROM ({rows})"


def _broken(spec: ChangeSpec, rules: Sequence[RowRule]) -> Iterator[str]:
    """What a change breaks, null for what it does not. A deletion has no row that rules could be about."""
    is_change = f"NOT {TRUNCATED}"
    keyless = " OR ".join(f"{_quoted(key)} IS NULL" for key in spec.keys)
    yield _violation("key.null", "", f"{is_change} AND ({keyless})")
    if declared := _declared(spec):
        unplaced = " OR ".join(f"{c.SEQUENCE}.{_quoted(name)} IS NULL" for name in declared)
        yield _violation("sequence.null", "", unplaced)
    yield _violation("change.partial", "", f"{is_change} AND {_HALF_KNOWN}")
    for rule in rules:
        read = (*rule.columns, *rule.condition_columns)
        untold = f"coalesce(arrays_overlap({c.UNKNOWN}, {_array(_literal(name) for name in read)}), FALSE)"
        applies = f"{is_change} AND NOT {c.DELETED} AND NOT {untold} AND {counts(rule, SPARK)}"
        breaks = f"NOT {missing(rule, SPARK)} AND {broken(rule, SPARK)}"
        yield _violation(rule.code, f"/{rule.columns[0]}", f"{applies} AND {breaks}")


def _violation(rule: str, pointer: str, broken: str) -> str:
    fields = f"'rule', {_literal(rule)}, 'pointer', {_literal(pointer)}, 'schema_path', ''"
    return f"IF({broken}, named_struct({fields}), NULL)"
