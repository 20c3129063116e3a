"""The frozen models of the table specs: `tables/<layer>.<table>.yml`, one file a table.

A table is one of five kinds, told apart by the words its file uses:

| kind      | its word                  | what it holds                                              |
|-----------|---------------------------|------------------------------------------------------------|
| `bronze`  | `source:`                 | every accepted record of a topic, append-only              |
| `current` | `stored_as_scd_type: 1`   | the newest row per key                                     |
| `history` | `stored_as: history`      | every change of a key once, deletes included               |
| `scd2`    | `stored_as_scd_type: 2`   | the versions of a key with their validity, from a history  |
| `derived` | `query:`                  | what a query gives, refreshed by the keys that changed     |
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Layer = Literal["bronze", "silver", "gold"]
TableName = Annotated[str, StringConstraints(pattern=r"^(bronze|silver|gold)\.[a-z][a-z0-9_]*$")]
COLUMN_NAME = r"^[a-z][a-z0-9_]*$"
ColumnName = Annotated[str, StringConstraints(pattern=COLUMN_NAME)]
SequenceColumn = Annotated[str, StringConstraints(pattern=r"^(_source_position|[a-z][a-z0-9_]*)$")]
SqlExpression = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Select = dict[ColumnName, SqlExpression]
Keys = Annotated[tuple[ColumnName, ...], Field(min_length=1)]
RelationName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*){0,2}$")]
Days = Annotated[int, Field(gt=0)]

Protection = Literal["hash", "mask", "drop", "keep"]
"""What becomes of a column that is made from personal data; see schemas/pii.py."""

# How a change upstream is brought to columns of the derived table: one column of the same name, several of the
# same names, or upstream column -> column of this table.
Affects = ColumnName | tuple[ColumnName, ...] | dict[ColumnName, ColumnName]


class Spec(BaseModel):
    """What every spec has: the table's name, where it was read, how it is partitioned."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    table: TableName
    description: str = ""
    partition_by: tuple[ColumnName, ...] = ()
    file: Path = Field(default=Path(), exclude=True)

    @property
    def layer(self) -> str:
        """`bronze`, `silver` or `gold`: the part of the name before the dot."""
        return self.table.split(".")[0]

    @property
    def name(self) -> str:
        """The part of the name after the dot."""
        return self.table.split(".")[1]

    @property
    def upstreams(self) -> tuple[str, ...]:
        """The tables that this one is made from, none for bronze."""
        return ()


class JdbcPull(BaseModel):
    """A table or query of a database that is read again and again, each time the rows that have changed since.

    `source` is a database of the settings. `watermark_column` is a time that grows with each change of a row, kept
    under `watermark_state_key`; `lookback_seconds` before it are read again, for transactions that were committed late.
    `partition_column` is a number by which a large slice is read in `partitions` connections.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: ColumnName
    table: RelationName | None = None
    query: SqlExpression | None = None
    watermark_column: ColumnName
    watermark_state_key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/_.-]{1,200}$")]
    lookback_seconds: Annotated[float, Field(ge=0)] = 60.0
    poll_seconds: Annotated[float, Field(gt=0)] = 60.0
    batch_rows: Annotated[int, Field(gt=0)] = 100_000
    partition_column: ColumnName | None = None
    partitions: Annotated[int, Field(gt=0)] = 1

    @property
    def relation(self) -> str:
        """What it is called in a sentence."""
        return self.table or "a query"


class KafkaSource(BaseModel):
    """Where a bronze table's records come from, and how their bytes are to be read.

    They are those of a topic; or with `jdbc` rows of a database as JSON, and `topic` is a name that Sluice gives.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    jdbc: JdbcPull | None = None

    topic: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
    format: Literal["json", "debezium-json", "avro", "debezium-avro"]
    encoding: Literal["confluent", "plain"] = "confluent"
    writer_schema: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.avsc$")] | None = None
    source_system: Annotated[str, StringConstraints(min_length=1)] = "kafka"
    starting_offsets: Literal["earliest", "latest"] = "earliest"

    @model_validator(mode="before")
    @classmethod
    def _named_by_sluice(cls, data: Any) -> Any:
        """A pulled table has a topic in name alone, and JSON that Sluice makes."""
        if not isinstance(data, dict) or not isinstance(data.get("jdbc"), dict | JdbcPull):
            return data
        pull = data["jdbc"]
        named = pull if isinstance(pull, dict) else pull.model_dump()
        name = f"pull.{named.get('source')}.{named.get('table') or named.get('watermark_state_key')}"
        return {"topic": re.sub(r"[^A-Za-z0-9._-]", "_", name), "format": "json", **data}

    @property
    def is_debezium(self) -> bool:
        """Whether the records are change events in Debezium's envelope."""
        return self.format.startswith("debezium-")

    @property
    def is_avro(self) -> bool:
        """Whether the records are Avro: each of the schema whose id it bears, or all of `writer_schema` where plain."""
        return self.format.endswith("avro")

    @property
    def asks_registry(self) -> bool:
        """Whether the records bear ids of schemas that only a schema registry knows."""
        return self.is_avro and self.encoding == "confluent"


class BronzeSpec(Spec):
    """An append-only table of the records of one topic that keep to their contract."""

    kind: Literal["bronze"] = "bronze"
    source: KafkaSource
    contract: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
    contract_describes: Literal["row", "envelope"] = "row"
    keys: tuple[ColumnName, ...] = ()
    schema_change: Literal["evolve", "freeze", "discard_value", "discard_row"] = "discard_value"
    lane_retention_days: Days | None = None


class ChangeSpec(Spec):
    """What the tables kept from a feed of changes share: keys, order, deletes and the canonical columns.

    The words are those of Databricks AUTO CDC. `select` is there whichever of the words for columns the file uses: see
    schemas/column_lists.py.
    """

    from_: TableName = Field(alias="from")
    keys: Keys
    sequence_by: Annotated[tuple[SequenceColumn, ...], Field(min_length=1)]
    apply_as_deletes: SqlExpression | None = None
    apply_as_truncates: SqlExpression | None = None
    ignore_null_updates: bool = False
    select: Annotated[Select, Field(min_length=1)] = Field(default_factory=dict)
    column_list: Keys | None = Field(default=None, exclude=True)
    except_column_list: Keys | None = Field(default=None, exclude=True)
    pii: dict[ColumnName, Protection] = Field(default_factory=dict)
    schema_change: Literal["evolve", "freeze"] = "freeze"
    lane_retention_days: Days | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `select` that the table has: those that `pii` does not drop."""
        return tuple(name for name in self.select if self.pii.get(name) != "drop")

    @property
    def protections(self) -> dict[str, Protection]:
        """Column -> what becomes of it, where it is not kept as it is."""
        return {name: decision for name, decision in self.pii.items() if decision != "keep"}

    @property
    def upstreams(self) -> tuple[str, ...]:
        """The one bronze table below which this one stands."""
        return (self.from_,)


class Reconcile(BaseModel):
    """Where the rows of a table come from, and how its columns are read there, to compare both.

    `source` is a database of the settings. `select` gives for a column of the table SQL of that database's dialect
    with the same value; columns that can not be told there are left out, but no key. `where` says which rows count.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: ColumnName
    table: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?$")]
    select: Annotated[Select, Field(min_length=1)]
    where: SqlExpression | None = None


class CurrentSpec(ChangeSpec):
    """The newest row per key, deletes applied."""

    kind: Literal["current"] = "current"
    stored_as_scd_type: Literal[1]
    reconcile: Reconcile | None = None


class HistorySpec(ChangeSpec):
    """Every change of a key once, in the source's order, deletes as rows with `_deleted`."""

    kind: Literal["history"] = "history"
    stored_as: Literal["history"]


class Scd2Spec(Spec):
    """The versions of a key: `valid_from` (inclusive), `valid_to` (exclusive, null while open), `is_current`."""

    kind: Literal["scd2"] = "scd2"
    from_: TableName = Field(alias="from")
    keys: Keys
    stored_as_scd_type: Literal[2]
    valid_from: ColumnName
    first_version: Literal["beginning", "valid_from"] = "beginning"
    surrogate_key: ColumnName
    track_history_column_list: tuple[ColumnName, ...] | None = None
    track_history_except_column_list: tuple[ColumnName, ...] | None = None

    @property
    def upstreams(self) -> tuple[str, ...]:
        """The one history that the versions are worked out from."""
        return (self.from_,)


class DerivedSpec(Spec):
    """What a query over other tables gives, one row per `grain`; refreshed by the keys that changed upstream."""

    kind: Literal["derived"] = "derived"
    grain: Keys
    query: SqlExpression
    affected_by: Annotated[dict[TableName, Affects], Field(min_length=1)]
    surrogate_key: ColumnName | None = None

    @property
    def upstreams(self) -> tuple[str, ...]:
        """The tables whose changes touch this one, in the order of the file."""
        return tuple(self.affected_by)

    def affected_columns(self, upstream: str) -> dict[str, str]:
        """Column of the upstream -> column of this table by which a change there finds the rows here."""
        affects = self.affected_by[upstream]
        if isinstance(affects, dict):
            return dict(affects)
        return {column: column for column in ((affects,) if isinstance(affects, str) else affects)}


TableSpec = BronzeSpec | CurrentSpec | HistorySpec | Scd2Spec | DerivedSpec
