"""All checks between the files of a pipeline, in one place: what they name exists and fits."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.check_columns import column_problems
from schemas.check_names import name_problems
from schemas.check_pii import pii_problems
from schemas.check_pushdown import pushdown_problems
from schemas.check_query import query_problems
from schemas.check_reconcile import reconcile_problems
from schemas.check_sources import source_problems
from schemas.errors import Problem
from schemas.folder import Folder


def problems_of(folder: Folder) -> Iterator[Problem]:
    """Every problem between files; those inside one file are told where it is read."""
    yield from name_problems(folder)
    yield from source_problems(folder)
    yield from column_problems(folder)
    yield from pii_problems(folder)
    yield from query_problems(folder)
    yield from pushdown_problems(folder)
    yield from reconcile_problems(folder)
