"""What a changed spec asks of a table that is there, and what the service would refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pyspark.sql.types import DataType, StringType, StructType
from sqlglot import exp

from schemas import columns as c
from schemas.pipeline import Pipeline
from schemas.spec import BronzeSpec, ChangeSpec, DerivedSpec, Scd2Spec, Spec, TableSpec
from schemas.sql import UNREAD, NotSql, parse, parse_expression, type_of
from schemas.suggest import quoted
from schemas.table_columns import bronze_type, column_names, rest_of_row
from schemas.tagged import Tagged
from sinks.table import Table
from streams.personal import taken_along
from streams.plan.counts import RecordPlan

Action = Literal["none", "backfill", "rebuild"]
"""What older rows need: nothing; a column that they lack; to be made anew, since they are not what they would be."""

State = Literal["changed", "new", "removed", "follows"]


@dataclass(frozen=True)
class TablePlan:
    """What becomes of one table.

    `changes` say what is other than deployed, `breaks` what the service would refuse when it starts, or could not go on
    with; `remedy` is what to do, `below` the tables that rejected records would be missing from.
    """

    table: str
    state: State
    changes: tuple[str, ...] = ()
    breaks: tuple[str, ...] = ()
    action: Action = "none"
    remedy: str = ""
    records: RecordPlan | None = None
    below: tuple[str, ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether the table, or a record of it, would not go on as before."""
        return bool(self.breaks) or (self.records is not None and self.records.breaks)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "is_broken": self.is_broken}


def new_table(spec: TableSpec) -> TablePlan:
    """A table that is not deployed yet."""
    if isinstance(spec, BronzeSpec):
        begins = "beginning" if spec.source.starting_offsets == "earliest" else "end"
        return TablePlan(spec.table, "new", (f"it reads the topic {spec.source.topic} from its {begins}",))
    return TablePlan(spec.table, "new", (f"it is made from {', '.join(spec.upstreams)} when the service starts",))


def removed_table(name: str) -> TablePlan:
    """A table that is deployed, and planned no more."""
    return TablePlan(name, "removed", ("it is no longer written; its folder stays",))


@dataclass(frozen=True)
class Below:
    """Compares the tables below bronze, as deployed and as planned."""

    deployed: Pipeline
    planned: Pipeline

    def plan(self, name: str, table: Table) -> TablePlan | None:
        """What becomes of a table that both have; None where nothing does."""
        before, after = self.deployed.tables[name], self.planned.tables[name]
        found = _Findings(name)
        if before.kind != after.kind:
            found.rebuild(f"it becomes a `{after.kind}` table, and was a `{before.kind}` one")
        else:
            self._compare(before, after, found)
        if self.planned.rules.get(name, ()) != self.deployed.rules.get(name, ()):
            found.changes.append("its rules in dq.yml change: they hold for new rows; older ones are not judged again")
        if table.exists:
            found.breaks += self._refused(name, before, after, table)
            found.changes += self._followed(name, after, table)
        if found.breaks and found.action == "none":
            found.action = "rebuild"
        return found.plan(after, table)

    def _compare(self, before: TableSpec, after: TableSpec, found: _Findings) -> None:
        for word in changed_words(before, after):
            old, new = getattr(before, word), getattr(after, word)
            match word:
                case "pii":
                    _compare_pii(old, new, found)
                case "description" | "lane_retention_days" | "affected_by" | "reconcile":
                    found.changes.append(f"`{word}` changes")
                case "schema_change":
                    found.changes.append(f"`schema_change` was {old} and becomes {new}")
                case "select":
                    _compare_select(old, new, found)
                case "query" | "apply_as_deletes" | "apply_as_truncates":
                    if not same_sql(old or "", new or ""):
                        found.rebuild(f"`{word}` changes")
                case _:
                    found.rebuild(f"`{word.rstrip('_')}` was {_shown(old)} and becomes {_shown(new)}")

    def _refused(self, name: str, before: TableSpec, after: TableSpec, table: Table) -> Iterator[str]:
        """What `prepare` of the table's step refuses, as far as it can be told without Spark."""
        partitions = tuple(table.handle().metadata().partition_columns)
        if partitions != after.partition_by:
            yield f"it is partitioned by {list(partitions)} and would be by {list(after.partition_by)}"
        present = table.schema()
        there = set(present.names)
        planned, deployed = (self._names(one, name) for one in (self.planned, self.deployed))
        if isinstance(after, ChangeSpec | Scd2Spec):
            yield from self._other_types(before, after, present)
        if isinstance(after, ChangeSpec):
            if (tagged := _tagged(self.planned, after)) is not None:
                yield from taken_along(after, present.names, tagged.is_field)
            if isinstance(before, ChangeSpec):
                yield from _protected_otherwise(before, after, there)
            if after.schema_change == "evolve":
                return
            if isinstance(before, ChangeSpec) and before.sequence_by != after.sequence_by:
                yield f"column `{c.SEQUENCE}` would have other fields"
            yield from _named("is new", planned - there)
            yield from _named("is no longer asked for", there - planned)
        elif isinstance(after, DerivedSpec) and planned and deployed:
            # What only Spark can tell, as `SELECT *` over columns that were learned, is the same on both sides.
            yield from _named("is new", planned - deployed - there)
            yield from _named("is no longer asked for", (deployed - planned) & there)

    def _followed(self, name: str, after: TableSpec, table: Table) -> Iterator[str]:
        """Columns that are taken along from above."""
        if isinstance(after, Scd2Spec):
            found = self._names(self.planned, name) - set(table.schema().names) - {after.surrogate_key}
        elif isinstance(after, ChangeSpec) and after.schema_change == "evolve":
            bronze, tagged = _bronze(self.planned, after), _tagged(self.planned, after)
            rest = rest_of_row(after, bronze, tagged.is_field) if bronze is not None and tagged is not None else {}
            found = rest.keys() - set(table.schema().names)
        else:
            return
        if found:
            yield f"it takes along {quoted(sorted(found))} from {after.upstreams[0]}; older rows have none"

    def _other_types(self, before: TableSpec, after: TableSpec, present: StructType) -> Iterator[str]:
        old = _types(self.deployed, before)
        for name, kind in _types(self.planned, after).items():
            if name not in present.names or (name in old and old[name] == kind):
                continue
            there = present[name].dataType.simpleString()
            if there != kind.simpleString():
                yield f"column `{name}` is {there} and would be {kind.simpleString()}"

    @staticmethod
    def _names(pipeline: Pipeline, name: str) -> set[str]:
        return set(column_names(pipeline.tables, pipeline.contracts)(name) or ())


def followers(planned: Pipeline, plans: dict[str, TablePlan]) -> Iterator[TablePlan]:
    """Tables that stand directly below one that is made anew: they compare themselves whole, and need nothing."""
    anew = {name for name, one in plans.items() if one.action != "none"} - {spec.table for spec in planned.bronze}
    for name in planned.order:
        above = [one for one in planned.upstreams(name) if one in anew]
        if not above or (name in plans and (plans[name].state == "new" or plans[name].action != "none")):
            continue
        what = f"once {' and '.join(above)} {'is' if len(above) == 1 else 'are'} made anew, it compares itself whole"
        if any("would be" in sentence for one in above for sentence in plans[one].breaks):
            what += "; where that gives one of its columns another type, it has to be made anew as well"
        own = plans.get(name) or TablePlan(name, "follows")
        yield replace(own, changes=(*own.changes, what))


def changed_words(before: Spec, after: Spec) -> list[str]:
    """The words of a spec that are other, as its model names them."""
    old, new = before.model_dump(), after.model_dump()
    return [word for word in new if old.get(word) != new[word]]


def same_sql(one: str, other: str) -> bool:
    """Whether two texts are the same to Spark but for blanks and comments, as far as can be told."""
    try:
        trees = parse(one), parse(other)
    except NotSql:
        return one == other
    if UNREAD in trees:
        return one == other
    for tree in trees:
        for identifier in tree.find_all(exp.Identifier):
            identifier.set("quoted", False)
    return bool(trees[0] == trees[1])


@dataclass
class _Findings:
    table: str

    def __post_init__(self) -> None:
        self.changes: list[str] = []
        self.breaks: list[str] = []
        self.action: Action = "none"

    def rebuild(self, what: str) -> None:
        self.changes.append(what)
        self.action = "rebuild"

    def backfill(self, what: str) -> None:
        self.changes.append(what)
        self.action = "rebuild" if self.action == "rebuild" else "backfill"

    def plan(self, spec: TableSpec, table: Table) -> TablePlan | None:
        if not self.changes and not self.breaks:
            return None
        if not table.exists:
            what = "it is not in the lake, and is made when the service starts"
            return TablePlan(self.table, "changed", (*self.changes, what))
        remedy = ""
        if self.action != "none":
            until = (
                "the service does not start"
                if self.breaks
                else "older rows have nothing there"
                if self.action == "backfill"
                else "older rows stay as they are, and only what changes follows the new spec"
            )
            remedy = (
                f"stop the service, move {table.path} aside and start: the table is made anew from "
                f"{', '.join(spec.upstreams)}. Until then {until}"
            )
            if self.breaks and self.action == "backfill" and isinstance(spec, ChangeSpec):
                remedy += "; with `schema_change: evolve` it does, and older rows have nothing there"
        return TablePlan(self.table, "changed", tuple(self.changes), tuple(self.breaks), self.action, remedy)


def _compare_select(old: dict[str, str], new: dict[str, str], found: _Findings) -> None:
    added, gone = [name for name in new if name not in old], [name for name in old if name not in new]
    other = [name for name in new if name in old and not same_sql(old[name], new[name])]
    if added:
        found.backfill(f"`select` has {quoted(added)} more")
    if gone:
        found.rebuild(f"`select` no longer has {quoted(gone)}")
    if other:
        found.rebuild(f"the expression of {quoted(other)} changes")


def _compare_pii(old: dict[str, str], new: dict[str, str], found: _Findings) -> None:
    for name in dict.fromkeys((*old, *new)):
        was, is_now = old.get(name, "keep"), new.get(name, "keep")
        if was != is_now:
            found.rebuild(f"`pii` of `{name}` was {was} and becomes {is_now}")


def _types(pipeline: Pipeline, spec: TableSpec | None) -> dict[str, DataType]:
    """The types of the columns that are just a column of bronze, or a cast."""
    if isinstance(spec, Scd2Spec):
        return _types(pipeline, pipeline.tables.get(spec.from_))
    if not isinstance(spec, ChangeSpec):
        return {}
    bronze = _bronze(pipeline, spec) or StructType()
    found = {}
    for name in spec.columns:
        try:
            hashed = spec.pii.get(name) == "hash"
            kind = StringType() if hashed else type_of(parse_expression(spec.select[name]), bronze)
        except NotSql:
            continue
        if kind is not None:
            found[name] = kind
    return found


def _bronze(pipeline: Pipeline, spec: ChangeSpec) -> StructType | None:
    above = pipeline.tables.get(spec.from_)
    contract = pipeline.contracts.get(above.contract) if isinstance(above, BronzeSpec) else None
    return bronze_type(above, contract) if isinstance(above, BronzeSpec) and contract is not None else None


def _tagged(pipeline: Pipeline, spec: ChangeSpec) -> Tagged | None:
    above = pipeline.tables.get(spec.from_)
    contract = pipeline.contracts.get(above.contract) if isinstance(above, BronzeSpec) else None
    return Tagged.of(above, contract) if isinstance(above, BronzeSpec) and contract is not None else None


def _protected_otherwise(before: ChangeSpec, after: ChangeSpec, there: set[str]) -> Iterator[str]:
    """Columns whose rows are protected in one way, and new ones would be in another."""
    old, new = before.protections, after.protections
    named = [name for name in sorted({*old, *new} & there) if old.get(name) != new.get(name)]
    if named:
        yield f"older rows hold {quoted(named)} as `pii` said before"


def _named(what: str, names: set[str]) -> Iterator[str]:
    return (f"column `{name}` {what}" for name in sorted(names))


def _shown(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(str(one) for one in value)}]"
    return "nothing" if value is None else f"`{value}`"
