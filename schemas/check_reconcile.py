"""Checks of what specs say about the database that their table is reconciled with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import sqlglot
from sqlglot.tokenizer_core import TokenType

from schemas.errors import Problem
from schemas.folder import Folder
from schemas.spec import CurrentSpec, Reconcile
from schemas.suggest import did_you_mean, quoted

_DIALECT: Final = "postgres"


def reconcile_problems(folder: Folder) -> Iterator[Problem]:
    """Columns that the table does not have, keys that are not compared, SQL that is not one expression."""
    for table, spec in folder.specs.items():
        if isinstance(spec, CurrentSpec) and spec.reconcile is not None:
            yield from _columns(folder, table, spec, spec.reconcile)
            yield from _expressions(folder, table, spec.reconcile)


def _columns(folder: Folder, table: str, spec: CurrentSpec, reconcile: Reconcile) -> Iterator[Problem]:
    for name in reconcile.select:
        if name not in spec.select:
            what = f"There is no column `{name}` in `{table}`."
            remedy = did_you_mean(name, spec.select, "Name one that is in its `select`.")
            yield folder.problem(table, ("reconcile", "select", name), what, remedy)
    missing = [key for key in spec.keys if key not in reconcile.select]
    if missing:
        what = f"Rows are found by their key, and {quoted(missing)} {'is' if len(missing) == 1 else 'are'} not here."
        yield folder.problem(table, ("reconcile", "select"), what, "Say how the source has it.")


def _expressions(folder: Folder, table: str, reconcile: Reconcile) -> Iterator[Problem]:
    expressions: list[tuple[tuple[str, ...], str]]
    expressions = [(("reconcile", "select", name), sql) for name, sql in reconcile.select.items()]
    if reconcile.where is not None:
        expressions.append((("reconcile", "where"), reconcile.where))
    for path, sql in expressions:
        if why := _why_not_one(sql):
            what = f"This is not one SQL expression: {why}."
            yield folder.problem(table, path, what, "Correct it; it is SQL of the source's dialect.")


def _why_not_one(sql: str) -> str | None:
    """What keeps a text from being one expression, as far as its tokens tell; the database knows the rest."""
    try:
        tokens = [token.token_type for token in sqlglot.tokenize(sql, read=_DIALECT)]
    except sqlglot.errors.TokenError:
        return "a quote or a comment is not closed"
    if not tokens:
        return "there is nothing in it but a comment"
    if TokenType.SEMICOLON in tokens:
        return "there is a `;` in it"
    depth = 0
    for token in tokens:
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token, 0)
        if depth < 0:
            break
    return "its parentheses do not match" if depth else None
