"""Checks that the tables and contracts named in specs exist, are of the right kind, and form no circle."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator

from schemas.errors import Problem
from schemas.folder import Folder
from schemas.spec import BronzeSpec, ChangeSpec, DerivedSpec, HistorySpec, Scd2Spec, TableSpec
from schemas.suggest import did_you_mean

_HEIGHT = {"bronze": 0, "silver": 1, "gold": 2}


def name_problems(folder: Folder) -> Iterator[Problem]:
    """Names that lead nowhere or to the wrong kind of table, layers that point upwards, circles."""
    for table, spec in folder.specs.items():
        if isinstance(spec, BronzeSpec):
            yield from _contract_problems(folder, table, spec)
        yield from _layer_problems(folder, table, spec)
        for upstream in spec.upstreams:
            yield from _upstream_problems(folder, table, spec, upstream)
    yield from _circles(folder)


def _contract_problems(folder: Folder, table: str, spec: BronzeSpec) -> Iterator[Problem]:
    if spec.contract not in folder.contracts:
        otherwise = f"Add `contracts/{spec.contract}.schema.json`."
        remedy = did_you_mean(spec.contract, folder.contracts, otherwise)
        yield folder.problem(table, ("contract",), f"There is no contract `{spec.contract}`.", remedy)
    else:
        yield from folder.contracts[spec.contract].storage_problems


def _layer_problems(folder: Folder, table: str, spec: TableSpec) -> Iterator[Problem]:
    if isinstance(spec, BronzeSpec) and spec.layer != "bronze":
        what = f"A table that reads a topic is in the layer bronze, not {spec.layer}."
        yield folder.problem(table, ("table",), what, f"Name it `bronze.{spec.name}`.")
    if not isinstance(spec, BronzeSpec) and spec.layer == "bronze":
        what = "A table in the layer bronze reads a topic, and this one is made from other tables."
        yield folder.problem(table, ("table",), what, f"Name it `silver.{spec.name}`.")


def _upstream_problems(folder: Folder, table: str, spec: TableSpec, upstream: str) -> Iterator[Problem]:
    path = _path_to(spec, upstream)
    if upstream not in folder.tables:
        remedy = did_you_mean(upstream, folder.tables, f"Add `tables/{upstream}.yml`.")
        yield folder.problem(table, path, f"There is no table `{upstream}`.", remedy)
        return
    above = folder.specs.get(upstream)
    if above is None:
        return
    if not _may_stand_below(spec, above):
        what = f"A {spec.kind} table is made from {_wanted(spec)}, and `{upstream}` is a {above.kind} table."
        yield folder.problem(table, path, what, did_you_mean(upstream, _candidates(folder, spec), "Name one."))
    elif _HEIGHT[above.layer] > _HEIGHT[spec.layer]:
        what = f"`{table}` is in the layer {spec.layer}, and `{upstream}` above it in {above.layer}."
        yield folder.problem(table, path, what, f"Let {spec.layer} tables read up to {spec.layer}, or move this one.")


def _candidates(folder: Folder, spec: TableSpec) -> list[str]:
    return [
        name
        for name, above in folder.specs.items()
        if name != spec.table and _may_stand_below(spec, above) and _HEIGHT[above.layer] <= _HEIGHT[spec.layer]
    ]


def _may_stand_below(spec: TableSpec, above: TableSpec) -> bool:
    match spec:
        case ChangeSpec():
            return isinstance(above, BronzeSpec)
        case Scd2Spec():
            return isinstance(above, HistorySpec)
        case DerivedSpec():
            return not isinstance(above, BronzeSpec)
        case _:
            return False


def _wanted(spec: TableSpec) -> str:
    match spec:
        case ChangeSpec():
            return "a bronze table"
        case Scd2Spec():
            return "a history table (`stored_as: history`)"
        case _:
            return "silver and gold tables"


def _path_to(spec: TableSpec, upstream: str) -> tuple[str, ...]:
    return ("affected_by", upstream) if isinstance(spec, DerivedSpec) else ("from",)


def _circles(folder: Folder) -> Iterator[Problem]:
    """Each circle of tables, named whole in the direction in which the data would flow."""
    above = {name: {up for up in spec.upstreams if up in folder.specs} for name, spec in folder.specs.items()}
    while True:
        try:
            graphlib.TopologicalSorter({name: sorted(above[name]) for name in sorted(above)}).prepare()
        except graphlib.CycleError as error:
            circle: list[str] = error.args[1][:-1]
            start = circle.index(min(circle))
            circle = [*circle[start:], *circle[:start]]
            first, last = circle[0], circle[-1]
            what = f"The tables go round in a circle: {' -> '.join([*circle, first])}."
            path = _path_to(folder.specs[first], last)
            yield folder.problem(first, path, what, "Take one of them out of the `affected_by` of the next.")
            above[first].discard(last)
        else:
            return
