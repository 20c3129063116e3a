"""`column_list` and `except_column_list`: the columns of bronze's row as they are, in the place of `select`.

| in the file | columns of the table |
|---|---|
| `select` | what its expressions give |
| `column_list` | these of the row, in the list's order |
| `except_column_list` | all of the row but these |
| none of the three | all of the row |

The words are those of Databricks AUTO CDC (docs.databricks.com, `create_auto_cdc_flow`). They are filled into `select`
once, when a folder is read, so that nothing behind it knows of them. The row is that of the contract: `after` for a
Debezium topic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from schemas import debezium
from schemas.contract import Contract
from schemas.errors import Problem
from schemas.spec import COLUMN_NAME, BronzeSpec, ChangeSpec, TableSpec
from schemas.spec_file import SpecFile
from schemas.suggest import did_you_mean, quoted
from schemas.table_columns import row_type

_WORDS: Final = ("select", "column_list", "except_column_list")
_NEEDED: Final = ("keys", "sequence_by", "partition_by")


def with_select(files: Iterable[SpecFile], contracts: Mapping[str, Contract]) -> list[SpecFile]:
    """The files with `select` in each spec of changes, and with the problems of the words that it came from.

    `contracts` are those that are right in themselves. Where what stands above is missing or not right itself, which is
    told elsewhere, `select` stays empty.
    """
    files = list(files)
    specs = {read.table: read.spec for read in files if read.spec is not None}
    return [_Filling(read, read.spec, specs, contracts).file for read in files]


def where_columns_are(read: SpecFile, spec: ChangeSpec) -> str:
    """For a sentence about a column that is missing: where it was looked for."""
    if spec.column_list is not None:
        return "`column_list`"
    data = read.document.data
    return "`select`" if isinstance(data, dict) and "select" in data else f"the row of `{spec.from_}`"


class _Filling:
    """One file: `file` is what becomes of it."""

    def __init__(
        self,
        read: SpecFile,
        spec: TableSpec | None,
        specs: Mapping[str, TableSpec],
        contracts: Mapping[str, Contract],
    ) -> None:
        self.read = read
        self.problems: list[Problem] = []
        self.file = read
        if not isinstance(spec, ChangeSpec):
            return
        self._exclusive(spec)
        above = specs.get(spec.from_)
        contract = contracts.get(above.contract) if isinstance(above, BronzeSpec) else None
        if not spec.select and isinstance(above, BronzeSpec) and contract is not None:
            spec = spec.model_copy(update={"select": self._select(spec, above, contract)})
        self.file = replace(read, spec=spec, problems=(*read.problems, *self.problems))

    def _exclusive(self, spec: ChangeSpec) -> None:
        there = [word for word in _WORDS if word in self.read.document.data]
        if len(there) > 1:
            self._report((there[1],), f"{quoted(there)} exclude each other.", "Keep one of them.")
        if spec.schema_change == "evolve" and there and there[0] != "select":
            what = f"`{there[0]}` says which columns there are, and `schema_change: evolve` adds all others."
            self._report((there[0],), what, "Keep one of the two words.")

    def _select(self, spec: ChangeSpec, above: BronzeSpec, contract: Contract) -> dict[str, str]:
        row = row_type(above, contract)
        if row is None:
            return {}
        prefix = f"{debezium.AFTER}." if above.source.is_debezium else ""
        row_names = {name.casefold(): name for name in row.names}
        for word in ("column_list", "except_column_list"):
            for index, name in enumerate(getattr(spec, word) or ()):
                if name.casefold() not in row_names:
                    what = f"There is no column `{name}` in the row of `{spec.from_}`."
                    self._report((word, index), what, did_you_mean(name, row.names, "Name one that is there."))
        needed = {name.casefold(): word for word in _NEEDED for name in getattr(spec, word)}
        if spec.column_list is not None:
            return self._listed(spec.column_list, row_names, needed, prefix)
        return self._all_but(spec, row_names, needed, prefix)

    def _listed(
        self, names: tuple[str, ...], row: Mapping[str, str], needed: Mapping[str, str], prefix: str
    ) -> dict[str, str]:
        for index, name in enumerate(names):
            if name in names[:index]:
                self._report(("column_list", index), f"`{name}` is named twice.", "Remove one.")
        listed = {name: f"{prefix}`{row[name]}`" for name in names if name in row}
        for name, word in needed.items():
            if name in row and name not in listed:
                self._report(("column_list",), f"`{name}` is left out, and `{word}` names it.", "Add it.")
                listed[name] = f"{prefix}`{row[name]}`"
        return listed

    def _all_but(
        self, spec: ChangeSpec, row: Mapping[str, str], needed: Mapping[str, str], prefix: str
    ) -> dict[str, str]:
        left_out = spec.except_column_list or ()
        for index, name in enumerate(left_out):
            if name in needed:
                what = f"`{name}` can not be left out: `{needed[name]}` names it."
                self._report(("except_column_list", index), what, "Remove it.")
        kept = {}
        for folded, name in row.items():
            if folded in left_out and folded not in needed:
                continue
            if folded not in needed and not re.fullmatch(COLUMN_NAME, name):
                what = f"`{name}` of the row of `{spec.from_}` is not a lower-case name, as a column's has to be."
                remedy = f"Leave it out by `except_column_list`, or name the columns in `select`, as `{prefix}{name}`."
                if not re.fullmatch(COLUMN_NAME, folded):
                    remedy = "Name the columns in `select`, or those that are wanted in `column_list`."
                self._report(("except_column_list",) if left_out else ("from",), what, remedy)
                continue
            kept[folded if folded in needed else name] = f"{prefix}`{name}`"
        return kept

    def _report(self, path: tuple[str | int, ...], what: str, remedy: str) -> None:
        dotted = ".".join(part for part in path if isinstance(part, str))
        self.problems.append(Problem(self.read.file, self.read.document.line(*path), dotted, what, remedy))
