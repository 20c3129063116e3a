"""What a changed contract or spec asks of a bronze table that is there, and what the service would refuse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pyspark.sql.types import DataType, StructType

from schemas import debezium
from schemas.decode import Decoder
from schemas.pipeline import Pipeline
from schemas.spec import BronzeSpec
from schemas.table_columns import bronze_type, row_in, with_metadata
from schemas.type_changes import FieldPath, additions
from schemas.usage import breaks, users_of
from sinks.table import Table
from streams.plan.records import Side
from streams.plan.tables import Action, TablePlan, changed_words

_JUDGED_BY: Final = ("keys", "contract", "contract_describes", "schema_change")
"""The words of a spec, beside its source's, by which records are judged."""

_ELSEWHERE: Final = (
    "a bronze table is not made anew from its topic: describe the new form as a table of another name, which reads the "
    "topic from its beginning as far as it is kept, or take the change back"
)
_FREEZE: Final = "write `schema_change: discard_value` or `evolve`, under which columns may be added"


@dataclass(frozen=True)
class Bronze:
    """One bronze table as deployed and as planned."""

    before: Side
    after: Side
    planned: Pipeline

    @property
    def name(self) -> str:
        """The table."""
        return self.after.spec.table

    @property
    def is_judged_otherwise(self) -> bool:
        """Whether records may be judged otherwise than today."""
        words = set(changed_words(self.before.spec, self.after.spec))
        old, new = self.before.spec.source, self.after.spec.source
        return (
            self.before.contract.hash != self.after.contract.hash
            or not words.isdisjoint(_JUDGED_BY)
            or (old.format, old.encoding) != (new.format, new.encoding)
            or self.before.writer_schema != self.after.writer_schema
        )

    @property
    def has_other_rows(self) -> bool:
        """Whether a record becomes other columns from now on, so that rows of today say nothing about it."""
        return self.before.spec.source.is_debezium != self.after.spec.source.is_debezium

    def plan(self, table: Table) -> TablePlan | None:
        """What becomes of the table, the records left out; None where nothing does."""
        changes = [*self._versions(), *self._words()]
        refused: list[str] = []
        remedies: list[str] = []
        if table.exists:
            added, gone = self._columns(table)
            changes += [*_told("added", added), *_told("no longer described, and stay", gone)]
            refused, remedies = self._refused(table)
        elif changes:
            changes.append("it is not in the lake, and is made when the service starts")
        if not changes and not refused:
            return None
        action: Action = "rebuild" if _ELSEWHERE in remedies else "none"
        return TablePlan(self.name, "changed", tuple(changes), tuple(refused), action, "; ".join(remedies))

    def _versions(self) -> Iterator[str]:
        old, new = self.before.contract, self.after.contract
        if old.name != new.name:
            yield f"its contract was {old.name} {old.version} and becomes {new.name} {new.version}"
        elif old.hash != new.hash:
            if old.version != new.version:
                yield f"its contract {new.name} was {old.version} and becomes {new.version}"
            else:
                yield (
                    f"its contract {new.name} changes and stays {new.version}: with another `x-version`, rows would "
                    "tell which they came under"
                )

    def _words(self) -> Iterator[str]:
        before, after = self.before.spec, self.after.spec
        for word in changed_words(before, after):
            if word == "source":
                for part in changed_words_of_source(before, after):
                    old, new = getattr(before.source, part), getattr(after.source, part)
                    yield f"`source.{part}` was {old or 'nothing'} and becomes {new or 'nothing'}"
            elif word not in ("contract", "partition_by"):
                yield f"`{word}` changes"
        if self.before.writer_schema != self.after.writer_schema and before.source == after.source:
            yield f"the writer schema {after.source.writer_schema} changes"

    def _columns(self, table: Table) -> tuple[list[tuple[FieldPath, DataType]], list[FieldPath]]:
        """The columns that the table lacks, and those that the contract named and names no more."""
        if self.has_other_rows:
            return [], []
        old = bronze_type(self.before.spec, self.before.contract) or StructType()
        new = bronze_type(self.after.spec, self.after.contract) or StructType()
        added = [one for one in additions(table.schema(), new) if self._is_told(one[0])]
        return added, [path for path, _ in additions(new, old) if self._is_told(path)]

    def _is_told(self, path: FieldPath) -> bool:
        """Debezium's two images have the same fields: one of them is enough to name."""
        return not self.after.spec.source.is_debezium or path[0] != debezium.BEFORE

    def _refused(self, table: Table) -> tuple[list[str], list[str]]:
        """What the service would refuse, and what to do about it."""
        old, new = self.before.spec.source, self.after.spec.source
        refused: list[str] = []
        frozen: list[str] = []
        if old.topic != new.topic:
            refused.append(f"its query has read {old.topic}, and can not go on with {new.topic}")
        if self.has_other_rows:
            refused.append(f"its rows are those of {old.format}, and those of {new.format} have other columns")
        else:
            present = table.schema()
            decoder = Decoder.of(self.after.spec, self.after.contract, row_in(self.after.spec, present))
            wanted = with_metadata(decoder.payload)
            users = users_of(self.planned, self.name)
            differences = table.differences(wanted, self.after.spec.partition_by, additive=True)
            refused += [f"{one}{breaks(one, users)}" for one in differences if self._is_told(_path(one))]
            if self.after.is_frozen:
                more = [".".join(path) for path, _ in additions(present, wanted) if self._is_told(path)]
                frozen = [f"column `{name}` is new, and `schema_change` is freeze" for name in more]
        remedies = [*([_ELSEWHERE] if refused else []), *([_FREEZE] if frozen else [])]
        return [*refused, *frozen], remedies


def changed_words_of_source(before: BronzeSpec, after: BronzeSpec) -> list[str]:
    """The words below `source` that are other."""
    old, new = before.source.model_dump(), after.source.model_dump()
    return [word for word in new if old[word] != new[word]]


def _path(difference: str) -> FieldPath:
    return tuple(difference.split("`")[1].split(".")) if "`" in difference else ("",)


def _told(what: str, columns: Iterable[FieldPath | tuple[FieldPath, DataType]]) -> Iterator[str]:
    shown = []
    for one in columns:
        if len(one) == 2 and isinstance(one[1], DataType):
            path, kind = one
            shown.append(f"`{'.'.join(path)}` {kind.simpleString()}")
        else:
            shown.append(f"`{'.'.join(str(part) for part in one)}`")
    if shown:
        yield f"{len(shown)} column{'s are' if len(shown) > 1 else ' is'} {what}: {', '.join(shown)}"
