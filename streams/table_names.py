"""Putting views in the place of table names in a query, by its tokens: strings, comments and columns stay."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot.dialects.dialect import Dialect
from sqlglot.tokenizer_core import Token, TokenType

_NAMES = frozenset({TokenType.VAR, TokenType.IDENTIFIER})
_FOLLOWS_TABLE = frozenset({TokenType.FROM, TokenType.JOIN, TokenType.COMMA})


def with_tables_renamed(query: str, views: Mapping[str, str]) -> str:
    """The query with each `layer.table` of `views` that stands where a table may stand read from its view.

    A table without an alias gets its own name as one, so that its columns can still be named by it.
    """
    tokens = Dialect.get_or_raise("spark").tokenize(query)
    pieces: list[str] = []
    done = 0
    for index, token in enumerate(tokens):
        view = _table_at(tokens, index, views)
        if view is None:
            continue
        last = tokens[index + 2]
        following = tokens[index + 3] if index + 3 < len(tokens) else None
        has_alias = following is not None and following.token_type in (*_NAMES, TokenType.ALIAS)
        pieces += [query[done : token.start], view, "" if has_alias else f" AS {last.text}"]
        done = last.end + 1
    return "".join([*pieces, query[done:]])


def _table_at(tokens: list[Token], index: int, views: Mapping[str, str]) -> str | None:
    if index == 0 or index + 2 >= len(tokens) or tokens[index - 1].token_type not in _FOLLOWS_TABLE:
        return None
    layer, dot, name = tokens[index : index + 3]
    if dot.token_type is not TokenType.DOT:
        return None
    return views.get(f"{layer.text}.{name.text}")
