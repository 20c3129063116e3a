"""Checks of `pii`: every column that reads what a contract tags as personal has a decision, and no other has one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from schemas.errors import Problem
from schemas.folder import Folder
from schemas.pii import is_hashable
from schemas.spec import BronzeSpec, ChangeSpec, HistorySpec, Scd2Spec
from schemas.sql import NotSql, parse_expression, type_of
from schemas.suggest import closest, did_you_mean
from schemas.table_columns import bronze_type
from schemas.tagged import Tagged

_REMEDY: Final = "Write `pii: {%s: hash}`, or `mask`, `drop` or `keep`."


def pii_problems(folder: Folder) -> Iterator[Problem]:
    """Columns without a decision, decisions without a column, and decisions that a table can not live with."""
    for table, spec in folder.specs.items():
        if isinstance(spec, ChangeSpec):
            yield from _decisions(folder, table, spec)
            yield from _places(folder, table, spec)
        elif isinstance(spec, Scd2Spec):
            yield from _valid_from(folder, table, spec)


def _decisions(folder: Folder, table: str, spec: ChangeSpec) -> Iterator[Problem]:
    above = folder.specs.get(spec.from_)
    contract = folder.sound_contracts.get(above.contract) if isinstance(above, BronzeSpec) else None
    if not isinstance(above, BronzeSpec) or contract is None:
        return
    tagged, columns = Tagged.of(above, contract), bronze_type(above, contract)
    reads = {name: found for name, sql in spec.select.items() if (found := tagged.read_by(sql)) is not None}
    undecided = [name for name in reads if name not in spec.pii]
    for name, decision in spec.pii.items():
        path = ("pii", name)
        if name not in spec.select:
            remedy = did_you_mean(name, undecided or spec.select, "Name a column of `select`.")
            yield folder.problem(table, path, f"There is no column `{name}` in `select`.", remedy)
        elif name not in reads:
            what = f"`{name}` reads no field that the contract `{contract.name}` tags as personal (`x-pii`)."
            near = closest(name, undecided)
            remedy = f"Did you mean `{near}`?" if near else "Remove it, or tag the field in the contract."
            yield folder.problem(table, path, what, remedy)
        elif decision == "hash" and columns is not None:
            try:
                kind = type_of(parse_expression(spec.select[name]), columns)
            except NotSql:
                continue
            if kind is not None and not is_hashable(kind):
                what = f"`{name}` is {kind.simpleString().upper()}, of which there is no hash."
                yield folder.problem(table, path, what, "Take single fields out of it in `select`, or write `mask`.")
    for name in undecided:
        what = (
            f"`{name}` reads `{reads[name]}`, which the contract `{contract.name}` tags as personal (`x-pii`)."
            if reads[name]
            else f"What `{name}` reads can not be told, and the contract `{contract.name}` tags fields as personal."
        )
        yield folder.problem(table, ("select", name), what, _REMEDY % name)


def _places(folder: Folder, table: str, spec: ChangeSpec) -> Iterator[Problem]:
    """Columns that rows are told apart, ordered or filed by."""
    for name, decision in spec.protections.items():
        path = ("pii", name)
        if name in spec.keys and decision != "hash":
            done = {"mask": "masked", "drop": "dropped"}[decision]
            what = f"`{name}` is a key, and {done} the keys of different rows would be one."
            yield folder.problem(table, path, what, f"Write `{name}: hash`, or `keep`.")
        if name in spec.sequence_by:
            what = f"`{name}` is in `sequence_by`, and the order of changes is kept with every row as it is."
            yield folder.problem(table, path, what, f"Write `{name}: keep`, or order by another column.")
        if name in spec.partition_by and decision == "mask":
            what = f"`{name}` is in `partition_by`, and masked all rows would lie in one partition."
            yield folder.problem(table, path, what, "Partition by another column.")


def _valid_from(folder: Folder, table: str, spec: Scd2Spec) -> Iterator[Problem]:
    history = folder.specs.get(spec.from_)
    decision = history.protections.get(spec.valid_from) if isinstance(history, HistorySpec) else None
    if decision in ("hash", "mask"):
        what = f"`{spec.valid_from}` is no time in `{spec.from_}`: `pii` says `{decision}` there."
        yield folder.problem(table, ("valid_from",), what, "Name another column, or write `keep` there.")
