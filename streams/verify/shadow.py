"""Tables made from bronze in one large step, by the steps that keep the live ones, into a lake of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from checkpoints import ledger
from checkpoints.lake import Lake
from checkpoints.positions import app_id
from schemas import columns as c
from schemas.settings import Settings
from schemas.spec import DerivedSpec
from sinks.pinned import PinnedTable
from sinks.table import Table
from streams.affected import KeySet
from streams.compute import InDriver, InSpark
from streams.graph import Graph
from streams.recipe import Recipe
from streams.refresh import RefreshStep
from streams.retention import retention_days
from streams.silver import ChangeStep
from streams.steps import CREATED, Pending, commit_for, entry_for
from streams.verify.nodes import Node
from streams.verify.open_records import by_runs, by_time, open_records
from streams.verify.sample import Sample
from streams.versions import VersionsStep


@dataclass(frozen=True)
class SampledRecipe:
    """A recipe of which only the rows of some keys are asked for."""

    inner: Recipe
    sample: Sample

    @property
    def spec(self) -> DerivedSpec:
        """The table's spec."""
        return self.inner.spec

    @property
    def grain(self) -> tuple[str, ...]:
        """The columns that tell its rows apart."""
        return self.inner.grain

    def mapping(self, upstream: str) -> dict[str, str]:
        """As of the whole."""
        return self.inner.mapping(upstream)

    def told(self, upstreams: Mapping[str, StructType]) -> None:
        """Left to Spark."""
        del upstreams

    def rows(self, spark: SparkSession, upstreams: Mapping[str, DataFrame], keys: Sequence[KeySet] | None) -> DataFrame:
        """The rows of the sample; the optimiser brings the condition as far up as it can."""
        rows = self.inner.rows(spark, upstreams, keys)
        return rows.where(self.sample.condition(rows.schema))


class Shadows:
    """The rebuilt tables below `root`; each node is made once, when it is first asked for.

    With `until`, bronze's rows and the verdicts on error lanes count only as far as they were there at that time.
    """

    def __init__(
        self, graph: Graph, settings: Settings, spark: SparkSession, root: str, until: datetime | None = None
    ) -> None:
        self._graph = graph
        self._settings = settings
        # A session of its own: views and transaction ids are a session's.
        self._spark = spark.newSession()
        self._root = root
        self._until = until
        self._made: dict[Node, Table] = {}

    def table(self, node: Node) -> Table:
        """The table of a node; bronze is the live one, held at its version."""
        if node not in self._made:
            self._made[node] = self._bronze(node) if node.bronze_version is not None else self._make(node)
        return self._made[node]

    def _bronze(self, node: Node) -> PinnedTable:
        return PinnedTable(node.table, self._graph.lake, node.version, self._until)

    def _make(self, node: Node) -> Table:
        above = tuple(self.table(one) for one in node.above)
        lake = self._place(node.table)
        table = Table(node.table, lake)
        step = self._graph.below[node.table]
        if isinstance(step, ChangeStep):
            step = replace(step, table=table, upstream=above[0], lake=lake, tombstone_days=None)
            self._take_changes(step, node)
            return table
        if isinstance(step, VersionsStep):
            step = replace(step, table=table, history=above[0])
        elif isinstance(step, RefreshStep):
            recipe = step.recipe if node.sample is None else SampledRecipe(step.recipe, node.sample)
            # By the other way than the live table's, which most often comes from the driver.
            step = replace(step, table=table, upstreams=above, recipe=recipe, in_driver=False)
        else:
            raise TypeError(f"{node.table} is kept by {type(step).__name__}, of which no rebuild is known")
        step.prepare(self._spark)
        step.run(self._spark, None)
        return table

    def _place(self, table: str) -> Lake:
        """The lake itself; or one within, for another state of a table that it has already."""
        others = sum(node.table == table for node in self._made)
        return Lake(self._root if not others else f"{self._root}/_other/{others}")

    def _take_changes(self, step: ChangeStep, node: Node) -> None:
        """Make a table of the changes in bronze, but for the records that the live table did not take."""
        upstream = step.upstream
        if not self._forgets(node.table):
            step = replace(step, rules=())
        step.prepare(self._spark)
        if upstream.version() == CREATED:
            return
        rows = self._without_rejected(upstream.read(self._spark), node)
        changes = step.changes(rows)
        if node.sample is not None:
            changes = changes.where(node.sample.condition(changes.schema))
        app = app_id(upstream.source_name(), step.label, 0)
        todo = Pending(upstream, app, CREATED, upstream.version(), is_first=True)
        entry = entry_for(
            step.table, step.label, "full", ledger.clock_at(upstream.handle(), upstream.version()), [todo]
        )
        commit = commit_for(entry, [todo])
        count = upstream.rows
        if count is not None and count <= step.small_batch_rows:
            step.merge(InDriver(), changes.toArrow(), changes.schema, commit, step.deletions(self._spark))
            return
        changes = changes.persist()
        try:
            step.merge(InSpark(self._spark), changes, changes.schema, commit, step.deletions(self._spark))
        finally:
            changes.unpersist()

    def _forgets(self, table: str) -> bool:
        """Whether the lane does not keep what it was given: what is no longer there is judged by today's rules."""
        return retention_days(self._graph.pipeline.tables[table], self._settings) is not None

    def _without_rejected(self, bronze: DataFrame, node: Node) -> DataFrame:
        counts = by_runs(node.redriven) if self._until is None else by_time(self._until)
        rejected = open_records(self._graph.lake, node.table, counts)
        if not rejected.num_rows:
            return bronze
        place = [c.TOPIC, c.PARTITION, c.OFFSET]
        return bronze.join(self._spark.createDataFrame(rejected).toDF(*place), place, "left_anti")
