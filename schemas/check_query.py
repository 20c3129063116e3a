"""Checks of derived tables: their query against the tables it reads, `affected_by` and `grain`."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.check_columns import missing
from schemas.columns import INGEST_METADATA
from schemas.errors import Problem
from schemas.folder import Folder
from schemas.spec import DerivedSpec
from schemas.sql import NotSql
from schemas.sql_query import Names, Query, parse_query
from schemas.suggest import did_you_mean, quoted


def query_problems(folder: Folder) -> Iterator[Problem]:
    """All that is wrong with the queries, and with what they are refreshed by."""
    for table, spec in folder.specs.items():
        if not isinstance(spec, DerivedSpec):
            continue
        try:
            query = parse_query(spec.query)
        except NotSql as error:
            yield folder.not_sql(table, ("query",), error)
            continue
        yield from _table_problems(folder, table, spec, query)
        yield from _unknown_columns(folder, table, query)
        output = query.output(folder.names)
        yield from _output_problems(folder, table, spec, query, output)
        yield from _affect_problems(folder, table, spec, output)


def _table_problems(folder: Folder, table: str, spec: DerivedSpec, query: Query) -> Iterator[Problem]:
    read = {one.name: one.row for one in query.tables()}
    for name, row in read.items():
        if name in spec.affected_by:
            continue
        if name in folder.tables:
            what = f"The query reads `{name}`, which is not in `affected_by`: its changes would be missed."
            remedy = "List it there, with the columns by which its changes find the rows of this table."
        else:
            what = f"There is no table `{name}`."
            by_short_name = {other.split(".")[1]: other for other in folder.tables}
            remedy = (
                f"Did you mean `{by_short_name[name]}`?"
                if name in by_short_name
                else did_you_mean(name, folder.tables, "Name one that is there.")
            )
        yield folder.problem(table, ("query",), what, remedy, row)
    for name in spec.affected_by:
        if read and name in folder.tables and name not in read:
            what = f"The query does not read `{name}`."
            yield folder.problem(table, ("affected_by", name), what, "Remove it here, or read it there.")


def _unknown_columns(folder: Folder, table: str, query: Query) -> Iterator[Problem]:
    for unknown in query.unknown(folder.names):
        first, *rest = unknown.reference.parts
        name = first
        if unknown.source:
            what, name = f"There is no column `{unknown.reference}`.", unknown.reference.parts[-1]
        elif rest:
            what = f"In `{unknown.reference}`, `{first}` is neither a table nor a column of the query."
        else:
            what = f"No table of the query has a column `{first}`."
        choices = [choice for choice in unknown.choices if not choice.startswith("_")]
        remedy = did_you_mean(name, choices, "Name one that is there.")
        yield folder.problem(table, ("query",), what, remedy, unknown.reference.row)


def _output_problems(
    folder: Folder, table: str, spec: DerivedSpec, query: Query, output: Names | None
) -> Iterator[Problem]:
    for number in query.unnamed():
        what = f"Column {number} of the result has no name."
        yield folder.problem(table, ("query",), what, "Give it one with `AS`.")
    if output is None:
        return
    named = [name for name in output if name]
    folded = [name.casefold() for name in named]
    for index, name in enumerate(named):
        if folded.index(name.casefold()) < index:
            yield folder.problem(table, ("query",), f"The result has two columns `{name}`.", "Rename one with `AS`.")
        if name in INGEST_METADATA:
            what = f"`{name}` is the name of a column that Sluice adds to this table."
            yield folder.problem(table, ("query",), what, "Leave it out, or rename it with `AS`.")
    if spec.surrogate_key and spec.surrogate_key.casefold() in folded:
        what = f"`{spec.surrogate_key}` is already a column of the query's result."
        yield folder.problem(table, ("surrogate_key",), what, "Give the surrogate key a name of its own.")
    if "" not in output:
        yield from missing(folder, table, "grain", spec.grain, named, "the result of the query")
        there = [*named, *([spec.surrogate_key] if spec.surrogate_key else [])]
        yield from missing(folder, table, "partition_by", spec.partition_by, there, f"`{table}`")


def _affect_problems(folder: Folder, table: str, spec: DerivedSpec, output: Names | None) -> Iterator[Problem]:
    for upstream in spec.affected_by:
        affected = spec.affected_columns(upstream)
        path = ("affected_by", upstream)
        if not affected:
            what = f"No column is named by which a change of `{upstream}` finds the rows of this table."
            yield folder.problem(table, path, what, "Name at least one.")
        above = folder.names(upstream)
        for theirs, ours in affected.items():
            if above is not None and theirs.casefold() not in {name.casefold() for name in above}:
                known = [name for name in above if not name.startswith("_")]
                what = f"There is no column `{theirs}` in `{upstream}`."
                yield folder.problem(
                    table, (*path, theirs), what, did_you_mean(theirs, known, "Name one that is there.")
                )
            if output is not None and "" not in output and ours.casefold() not in {name.casefold() for name in output}:
                what = f"There is no column `{ours}` in the result of the query."
                remedy = did_you_mean(ours, output, f"It has {quoted(output)}.")
                yield folder.problem(table, (*path, theirs), what, remedy)
