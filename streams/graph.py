"""From a checked pipeline to the steps that carry it out."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import SparkSession

from checkpoints import deployed, offsets
from checkpoints.errors import CheckpointBehind, CheckpointLost
from checkpoints.lake import Lake
from schemas.errors import InvalidPipeline, Problem
from schemas.pipeline import Pipeline
from schemas.settings import Settings
from schemas.spec import BronzeSpec, CurrentSpec, DerivedSpec, HistorySpec, Scd2Spec
from sinks.table import Tables
from streams import logs
from streams.breaker import Breaker
from streams.bronze import BronzeStep
from streams.explain import explain
from streams.gold import QueryRecipe
from streams.learning import Learner
from streams.refresh import RefreshStep
from streams.registry import registry_for
from streams.silver import ChangeStep
from streams.steps import Step
from streams.versions import VersionsStep

log = logs.get(__name__)


@dataclass(frozen=True)
class Graph:
    """The steps of a pipeline over one lake: bronze by name, and the tables below in topological order.

    `files` are those of the pipeline's folder, as they were when it was read.
    """

    pipeline: Pipeline
    lake: Lake
    tables: Tables
    bronze: dict[str, BronzeStep]
    below: dict[str, Step]
    files: deployed.Files

    @classmethod
    def build(cls, pipeline: Pipeline, settings: Settings) -> Graph:
        """The steps; nothing is read or written yet but the generations of the checkpoints."""
        lake = Lake.at(settings.lake)
        tables = Tables(lake, pipeline.order)
        registry = registry_for(pipeline, settings)
        bronze: dict[str, BronzeStep] = {}
        below: dict[str, Step] = {}
        for name in pipeline.order:
            spec = pipeline.tables[name]
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
                    upstream = tables[spec.from_]
                    below[name] = ChangeStep(
                        spec, tables[name], upstream, lake, settings.small_batch_rows, pipeline.rules.get(name, ())
                    )
                case Scd2Spec():
                    below[name] = VersionsStep(spec, tables[name], tables[spec.from_], settings.small_batch_rows)
                case DerivedSpec():
                    upstreams = tuple(tables[upstream] for upstream in spec.upstreams)
                    below[name] = RefreshStep(
                        QueryRecipe(spec), tables[name], upstreams, settings.small_batch_rows, settings.pushdown_keys
                    )
        return cls(pipeline, lake, tables, bronze, below, deployed.read(pipeline.folder))

    def prepare(self, spark: SparkSession) -> None:
        """Create the tables that are missing, check the others, and keep what they are made from as deployed.

        Raises InvalidPipeline with everything that only Spark's analyzer could find, IncompatibleTable where a table
        in the lake does not fit its spec, CheckpointLost or CheckpointBehind where a query would start over.
        """
        for bronze in self.bronze.values():
            bronze.prepare()
            _check_checkpoint(bronze)
        problems: list[Problem] = []
        failed: set[str] = set()
        for name, step in self.below.items():
            if failed.intersection(self.pipeline.upstreams(name)):
                failed.add(name)
                continue
            try:
                step.prepare(spark)
            except (AnalysisException, ParseException) as error:
                failed.add(name)
                remedy = "Correct the expression; `sluice validate` shows the columns that there are."
                field = ("query",) if isinstance(self.pipeline.tables[name], DerivedSpec) else ("select",)
                problems.append(self.pipeline.problem(name, field, f"Spark refuses it: {explain(error)}", remedy))
        if problems:
            raise InvalidPipeline(problems)
        try:
            deployed.save(self.lake, self.files)
        except OSError as error:
            # `sluice plan` then compares with what was deployed before; the data path needs nothing of it.
            log.warning("what is deployed was not kept", error=explain(error))


def _check_checkpoint(step: BronzeStep) -> None:
    held = step.table.position(step.app)
    if held is None:
        return
    planned = offsets.planned_batches(step.lake, step.checkpoint)
    if not planned:
        raise CheckpointLost(step.spec.table, held, step.checkpoint)
    if planned[-1] < held:
        raise CheckpointBehind(step.spec.table, held, step.checkpoint, f"ends with batch {planned[-1]}")
