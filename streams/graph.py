"""From a checked pipeline to the steps that carry it out."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import SparkSession

from checkpoints import deployed, protections
from checkpoints.commits import CommitLog
from checkpoints.lake import Lake
from checkpoints.positions import app_id
from schemas.errors import InvalidPipeline, Problem
from schemas.hash_key import HashKey
from schemas.pii import NotHashable
from schemas.pipeline import Pipeline
from schemas.quality.suite import quarantining
from schemas.settings import Settings
from schemas.spec import BronzeSpec, CurrentSpec, DerivedSpec, HistorySpec, Scd2Spec
from sinks.errors import IncompatibleTable
from sinks.table import Tables
from streams import logs
from streams.breaker import Breaker
from streams.bronze import BronzeStep
from streams.explain import explain
from streams.gold import QueryRecipe
from streams.learning import Learner
from streams.personal import privacy_of, taken_along
from streams.quality.decisions import Decisions
from streams.quality.gates import Gates
from streams.refresh import RefreshStep
from streams.registry import registry_for
from streams.silver import ChangeStep
from streams.starts import check_query, check_table
from streams.steps import REDRIVE, REPLAY, Step, all_there_is, pending
from streams.versions import VersionsStep

log = logs.get(__name__)


@dataclass(frozen=True)
class Graph:
    """The steps of a pipeline over one lake: bronze by name, and the tables below in topological order.

    `gates` stand between silver and gold.

    `files` are those of the pipeline's folder, as they were when it was read.
    """

    pipeline: Pipeline
    lake: Lake
    tables: Tables
    bronze: dict[str, BronzeStep]
    below: dict[str, Step]
    gates: Gates
    files: deployed.Files

    @classmethod
    def build(cls, pipeline: Pipeline, settings: Settings, *, decodes: bool = True, lake: Lake | None = None) -> Graph:
        """The steps; nothing is read or written yet but the generations of the checkpoints.

        Who only looks at the tables sets `decodes` to False: the schema registry need not be known then. Who holds the
        lease gives the `lake` under it.
        """
        lake = lake or Lake.at(settings.lake)
        tables = Tables(lake, pipeline.order)
        registry = registry_for(pipeline, settings) if decodes else None
        key = HashKey(settings.pii)
        bronze: dict[str, BronzeStep] = {}
        below: dict[str, Step] = {}
        gates = Gates(pipeline, tables, lake, settings.small_batch_rows)
        for name in pipeline.order:
            spec = pipeline.tables[name]
            ready = gates.ready if spec.layer == "gold" else all_there_is
            match spec:
                case BronzeSpec():
                    contract = pipeline.contract_of(spec)
                    bronze[name] = BronzeStep(
                        spec,
                        Learner(spec, contract, pipeline.writer_schema_of(spec), registry),
                        tables[name],
                        lake,
                        lake.generation(name),
                        settings.small_batch_rows,
                        settings.max_record_bytes,
                        Breaker(settings.breaker),
                    )
                case CurrentSpec() | HistorySpec():
                    above = bronze[spec.from_]
                    below[name] = ChangeStep(
                        spec,
                        tables[name],
                        above.table,
                        lake,
                        settings.small_batch_rows,
                        quarantining(pipeline.rules.get(name, ())),
                        privacy_of(above.spec, functools.partial(getattr, above, "contract"), key),
                        settings.tombstone_days,
                    )
                case Scd2Spec():
                    below[name] = VersionsStep(spec, tables[name], tables[spec.from_], settings.small_batch_rows, ready)
                case DerivedSpec():
                    upstreams = tuple(tables[upstream] for upstream in spec.upstreams)
                    below[name] = RefreshStep(
                        QueryRecipe(spec),
                        tables[name],
                        upstreams,
                        settings.small_batch_rows,
                        settings.pushdown_keys,
                        ready,
                    )
        return cls(pipeline, lake, tables, bronze, below, gates, deployed.read(pipeline.folder))

    def prepare(self, spark: SparkSession) -> None:
        """Create the tables that are missing, check the others, and keep what they are made from as deployed.

        Raises InvalidPipeline with everything that only Spark's analyzer could find, IncompatibleTable where a table
        in the lake does not fit its spec, ProtectionChanged where its personal columns do not, InvalidSettings where
        they can not be hashed, and what check_query, check_table and `pending` raise where something can not go on as
        it is. A table that has consumed what is not there would soon look like one that has it still to come.
        """
        for bronze in self.bronze.values():
            bronze.prepare()
            check_query(bronze)
        for name, step in self.below.items():
            if step.table.exists:
                check_table(step.table, CommitLog(self.lake, name))
                for upstream in (self.tables[one] for one in self.pipeline.upstreams(name)):
                    if upstream.exists:
                        pending(step.table, upstream, step.label)
        problems: list[Problem] = []
        failed: set[str] = set()
        for name, step in self.below.items():
            if failed.intersection(self.pipeline.upstreams(name)):
                failed.add(name)
                continue
            try:
                if isinstance(step, ChangeStep):
                    _check_privacy(step)
                step.prepare(spark)
            except NotHashable as error:
                failed.add(name)
                problems.append(self.pipeline.problem(name, ("pii", error.column), error.what, error.remedy))
            except (AnalysisException, ParseException) as error:
                failed.add(name)
                remedy = "Correct the expression; `sluice validate` shows the columns that there are."
                field = ("query",) if isinstance(self.pipeline.tables[name], DerivedSpec) else ("select",)
                problems.append(self.pipeline.problem(name, field, f"Spark refuses it: {explain(error)}", remedy))
        if problems:
            raise InvalidPipeline(problems)
        self.gates.ensure()
        try:
            deployed.save(self.lake, self.files)
        except OSError as error:
            # `sluice plan` then compares with what was deployed before; the data path needs nothing of it.
            log.warning("what is deployed was not kept", error=explain(error))

    def raise_fences(self) -> None:
        """Keep every holder of the lease before this one from committing to any table; see sinks/fence.py."""
        clock = datetime.now(UTC)
        raised = [
            name
            for name, table in self.tables.items()
            if table.exists and table.raise_fence(self._positions(name), clock)
        ]
        for step in self.below.values():
            if isinstance(step, ChangeStep):
                step.raise_fence()
        for table in (self.gates.results.table, Decisions(self.lake).table):
            if table.exists:
                table.raise_fence((), clock)
        if raised:
            log.info("fences raised", tables=len(raised), number=self.lake.token)

    def _positions(self, name: str) -> list[str]:
        """The names of the positions that Spark's commits to a table move."""
        if name in self.bronze:
            # A backfill's too: it may go on where it was cut short, long after.
            numbers = sorted({self.bronze[name].generation, *self.lake.generations(name)})
            return [app_id(name, label, number) for number in numbers for label in ("append", REDRIVE)]
        step, generation = self.below[name], self.tables[name].generation()
        sources = [self.tables[one].source_name() for one in self.pipeline.upstreams(name) if self.tables[one].exists]
        return [app_id(source, label, generation) for source in sources for label in (step.label, REPLAY)]


def _check_privacy(step: ChangeStep) -> None:
    """See that the rows that are there are protected as the new ones will be."""
    present = step.table.schema().names if step.table.exists else []
    if found := taken_along(step.spec, present, step.privacy.is_tagged):
        raise IncompatibleTable(step.spec.table, step.table.path, found)
    protections.settle(step.lake, step.spec, step.privacy.key, present)
