"""Which columns of the tables below are made from which columns of a bronze table."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.pipeline import Pipeline
from schemas.spec import ChangeSpec
from schemas.sql import NotSql, parse_expression, references


def users_of(pipeline: Pipeline, bronze: str) -> dict[str, list[str]]:
    """Column of the bronze table, as `after.email` -> the columns that are made from it, as `silver.people.email`."""
    found: dict[str, list[str]] = {}
    for name in pipeline.downstreams(bronze):
        spec = pipeline.tables[name]
        if not isinstance(spec, ChangeSpec):
            continue
        for column, sql in spec.select.items():
            try:
                tree = parse_expression(sql)
            except NotSql:
                continue
            for reference in references(tree):
                found.setdefault(str(reference), []).append(f"{name}.{column}")
    return found


def breaks(difference: str, users: Mapping[str, list[str]]) -> str:
    """What a sentence about a column of bronze, which it names in backquotes, has to add: what is made from it."""
    if "`" not in difference:
        return ""
    column = difference.split("`")[1]
    below = [user for path, names in users.items() if _meets(path, column) for user in names]
    return f", which breaks {', '.join(f'`{user}`' for user in dict.fromkeys(below))}" if below else ""


def _meets(path: str, column: str) -> bool:
    return path == column or path.startswith(f"{column}.") or column.startswith(f"{path}.")
