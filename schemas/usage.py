"""Which columns of the tables below are made from which columns of a bronze table."""

from __future__ import annotations

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
