"""Checks of the columns that bronze, current, history and scd2 specs name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pyspark.sql.types import StructType, TimestampType

from schemas import columns as c
from schemas.column_lists import where_columns_are
from schemas.errors import Problem
from schemas.folder import Folder
from schemas.spec import BronzeSpec, ChangeSpec, HistorySpec, Scd2Spec, TableSpec
from schemas.sql import Miss, NotSql, miss, parse_expression, references, type_of
from schemas.suggest import closest, did_you_mean, quoted
from schemas.table_columns import VALIDITY, bronze_type, image_columns, row_type


def column_problems(folder: Folder) -> Iterator[Problem]:
    """Columns that are named and not there, or there twice, in all tables but the derived ones."""
    for table, spec in folder.specs.items():
        yield from _named_twice(folder, table, spec)
        match spec:
            case BronzeSpec():
                yield from _bronze(folder, table, spec)
            case ChangeSpec():
                yield from _change(folder, table, spec)
            case Scd2Spec():
                yield from _scd2(folder, table, spec)


def missing(
    folder: Folder, table: str, word: str, named: Sequence[str], there: Iterable[str], where: str
) -> Iterator[Problem]:
    """A problem for each column of the list under `word` that is not `there`."""
    known = [name for name in there if not name.startswith("_")]
    folded = {name.casefold() for name in known}
    for index, name in enumerate(named):
        if name.casefold() not in folded:
            what = f"There is no column `{name}` in {where}."
            yield folder.problem(table, (word, index), what, did_you_mean(name, known, "Name one that is there."))


def _named_twice(folder: Folder, table: str, spec: TableSpec) -> Iterator[Problem]:
    for word in ("keys", "grain", "sequence_by", "partition_by"):
        named: tuple[str, ...] = getattr(spec, word, ())
        for index, name in enumerate(named):
            if name in named[:index]:
                yield folder.problem(table, (word, index), f"`{name}` is named twice.", "Remove one.")


def _bronze(folder: Folder, table: str, spec: BronzeSpec) -> Iterator[Problem]:
    if spec.contract_describes == "envelope" and not spec.source.is_debezium:
        what = f"Only a Debezium record has an envelope, and the format is `{spec.source.format}`."
        remedy = f"Remove it, or write `format: debezium-{spec.source.format}`."
        yield folder.problem(table, ("contract_describes",), what, remedy)
        return
    contract = folder.sound_contracts.get(spec.contract)
    if contract is None:
        return
    row = row_type(spec, contract)
    columns = bronze_type(spec, contract)
    if row is None or columns is None:
        what = f"The contract `{contract.name}` is of an envelope, but names no fields of `after`."
        yield folder.problem(table, ("contract_describes",), what, "Describe it there, or write `row`.")
        return
    yield from missing(folder, table, "keys", spec.keys, row.names, f"the row of the contract `{contract.name}`")
    yield from missing(folder, table, "partition_by", spec.partition_by, columns.names, f"`{table}`")
    if not spec.source.is_debezium:
        yield from _taken_names(folder, spec, row)


def _taken_names(folder: Folder, spec: BronzeSpec, row: StructType) -> Iterator[Problem]:
    taken = {*c.BRONZE_METADATA, *c.INGEST_METADATA}
    read = folder.contracts[spec.contract]
    for name in row.names:
        if name.casefold() in taken:
            what = f"`{name}` is the name of a column that Sluice adds to `{spec.table}`."
            remedy = "Leave it out of `properties`; it is then kept in `_rescued_data`."
            line = read.document.line("properties", name)
            yield Problem(read.file, line, f"/properties/{name}", what, remedy)


def _change(folder: Folder, table: str, spec: ChangeSpec) -> Iterator[Problem]:
    if not spec.select:
        return
    where = where_columns_are(folder.tables[table], spec)
    yield from missing(folder, table, "keys", spec.keys, spec.select, where)
    yield from missing(folder, table, "partition_by", spec.partition_by, spec.columns, where)
    declared = [name for name in spec.sequence_by if name != c.SOURCE_POSITION]
    yield from missing(folder, table, "sequence_by", declared, spec.select, where)
    above = folder.specs.get(spec.from_)
    if declared and isinstance(above, BronzeSpec) and above.source.is_debezium:
        yield from _unplaced(folder, table, spec, declared)
    bronze = _bronze_type(folder, spec)
    for path, sql in _expressions(spec):
        try:
            tree = parse_expression(sql)
        except NotSql as error:
            yield folder.not_sql(table, path, error)
            continue
        if bronze is None:
            continue
        for reference in references(tree):
            if found := miss(reference, bronze):
                yield _missed(folder, table, path, found, spec, bronze)


def _unplaced(folder: Folder, table: str, spec: ChangeSpec, declared: Sequence[str]) -> Iterator[Problem]:
    """Debezium's deletes and truncates have no row, and so no value in a column that orders by the row."""
    remedy = "Write `sequence_by: [_source_position]`."
    order = quoted(declared)
    if spec.apply_as_deletes is not None:
        what = f"A delete brings its key and no other value, so that it has no place in an order by {order}."
        yield folder.problem(table, ("apply_as_deletes",), what, remedy)
    if spec.apply_as_truncates is not None:
        what = f"A truncate brings no row, so that it has no place in an order by {order}."
        yield folder.problem(table, ("apply_as_truncates",), what, remedy)


def _bronze_type(folder: Folder, spec: ChangeSpec) -> StructType | None:
    """The columns above a change table, None where what stands above is not right itself."""
    above = folder.specs.get(spec.from_)
    contract = folder.sound_contracts.get(above.contract) if isinstance(above, BronzeSpec) else None
    return bronze_type(above, contract) if isinstance(above, BronzeSpec) and contract else None


def _expressions(spec: ChangeSpec) -> Iterator[tuple[tuple[str, ...], str]]:
    if spec.apply_as_deletes is not None:
        yield ("apply_as_deletes",), spec.apply_as_deletes
    if spec.apply_as_truncates is not None:
        yield ("apply_as_truncates",), spec.apply_as_truncates
    for name, sql in spec.select.items():
        yield ("select", name), sql


def _missed(
    folder: Folder, table: str, path: tuple[str, ...], found: Miss, spec: ChangeSpec, bronze: StructType
) -> Problem:
    row = found.reference.row
    if found.parent and not found.choices:
        what = f"`{found.parent}` has no fields, so there is no `{found.reference}`."
        return folder.problem(table, path, what, f"Write `{found.parent}`.", row)
    if found.parent:
        what = f"`{found.parent}` has no field `{found.name}` in `{spec.from_}`."
        remedy = did_you_mean(found.name, found.choices, "Its contract names those that it has.")
        return folder.problem(table, path, what, remedy, row)
    images = {name.split(".", 1)[1]: name for name in image_columns(bronze)}
    in_image = closest(found.name, images)
    what = f"There is no column `{found.name}` in `{spec.from_}`."
    payload = [name for name in found.choices if not name.startswith("_")]
    remedy = f"Did you mean `{images[in_image]}`?" if in_image else did_you_mean(found.name, found.choices)
    return folder.problem(table, path, what, remedy or f"Its payload has {quoted(payload)}.", row)


def _scd2(folder: Folder, table: str, spec: Scd2Spec) -> Iterator[Problem]:
    if spec.track_history_column_list is not None and spec.track_history_except_column_list is not None:
        what = "`track_history_column_list` and `track_history_except_column_list` exclude each other."
        yield folder.problem(table, ("track_history_except_column_list",), what, "Keep one of them.")
    history = folder.specs.get(spec.from_)
    if not isinstance(history, HistorySpec) or not history.select:
        return
    where = f"`{spec.from_}`"
    yield from missing(folder, table, "keys", spec.keys, history.columns, where)
    if set(spec.keys) != set(history.keys) and set(spec.keys) <= set(history.columns):
        theirs = quoted(history.keys)
        what = f"The versions are of {quoted(spec.keys)}, and the changes in `{spec.from_}` of {theirs}."
        yield folder.problem(table, ("keys",), what, f"Write `keys: [{', '.join(history.keys)}]`.")
    for word in ("track_history_column_list", "track_history_except_column_list"):
        yield from missing(folder, table, word, getattr(spec, word) or (), history.columns, where)
    for name in VALIDITY:
        if name in history.columns:
            what = f"`{spec.from_}` has a column `{name}`, which the versions have of their own."
            yield folder.problem(table, ("from",), what, f"Rename it in the `select` of `{spec.from_}`.")
    if spec.surrogate_key in (*history.columns, *VALIDITY):
        what = f"`{spec.surrogate_key}` is already a column of this table."
        yield folder.problem(table, ("surrogate_key",), what, "Give the surrogate key a name of its own.")
    yield from missing(
        folder,
        table,
        "partition_by",
        spec.partition_by,
        folder.names(table) or spec.partition_by,
        f"`{table}`",
    )
    yield from _valid_from(folder, table, spec, history)


def _valid_from(folder: Folder, table: str, spec: Scd2Spec, history: HistorySpec) -> Iterator[Problem]:
    if spec.valid_from not in history.columns:
        what = f"There is no column `{spec.valid_from}` in `{spec.from_}`."
        remedy = did_you_mean(spec.valid_from, history.columns, "Name a TIMESTAMP column that is there.")
        yield folder.problem(table, ("valid_from",), what, remedy)
        return
    bronze = _bronze_type(folder, history)
    try:
        tree = parse_expression(history.select[spec.valid_from])
    except NotSql:
        return
    kind = type_of(tree, bronze) if bronze is not None else None
    if kind is not None and not isinstance(kind, TimestampType):
        name = kind.simpleString().upper()
        what = f"`{spec.valid_from}` has to be a TIMESTAMP, and is {name} in `{spec.from_}`."
        yield folder.problem(table, ("valid_from",), what, "Convert it there, as with `try_to_timestamp(...)`.")
