"""All gates of a pipeline, and how far gold may read each silver table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pyspark.sql import SparkSession

from checkpoints import ledger
from checkpoints.lake import Lake
from schemas.pipeline import Pipeline
from schemas.quality.rule import RowRule, Rule
from schemas.spec import BronzeSpec, ChangeSpec, DerivedSpec, TableSpec
from sinks.table import Table, Tables
from streams.quality.gate import Gate, references_of
from streams.quality.judge import Suite
from streams.quality.results import Results
from streams.steps import CREATED


class Gates(Mapping[str, Gate]):
    """The gates of a pipeline by the table that they stand behind."""

    def __init__(self, pipeline: Pipeline, tables: Tables, lake: Lake, small_batch_rows: int) -> None:
        self.results = Results(lake)
        self._pipeline, self._tables = pipeline, tables
        self._gates: dict[str, Gate] = {}
        for name in pipeline.order:
            spec = pipeline.tables[name]
            if isinstance(spec, BronzeSpec):
                continue
            rules = tuple(rule for rule in pipeline.rules.get(name, ()) if is_judged_in(spec, rule))
            if rules:
                suite = Suite(rules, keys_of(spec), private=private_columns(pipeline, name))
                others = {other: tables[other] for other in references_of(suite)}
                self._gates[name] = Gate(tables[name], spec, suite, self.results, others, small_batch_rows)

    def __getitem__(self, name: str) -> Gate:
        """The gate behind a table; KeyError where nothing is judged there."""
        return self._gates[name]

    def __iter__(self) -> Iterator[str]:
        """The tables, upstreams first."""
        return iter(self._gates)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._gates)

    def ensure(self) -> None:
        """Create the table of results, where anything is judged."""
        if self._gates:
            self.results.ensure()

    def ready(self, name: str, spark: SparkSession) -> int:
        """The version of a table that gold may read, all there is being judged first.

        A silver table that is made of other silver tables may be read up to the last version that is made of what
        their gates have let through: else what is held there would come by this way.
        """
        table = self._tables[name]
        if not name.startswith("silver."):
            return table.version()
        gate = self._gates.get(name)
        version = table.version() if gate is None else gate.ready(spark)
        for upstream in self._pipeline.upstreams(name):
            if upstream.startswith("silver.") and self._is_gated(upstream):
                version = min(version, _made_of(table, upstream, self.ready(upstream, spark)))
        return version

    def _is_gated(self, name: str) -> bool:
        return name in self._gates or any(above in self._gates for above in self._pipeline.above(name))


def _made_of(table: Table, upstream: str, limit: int) -> int:
    """The newest version of a table that has consumed nothing of `upstream` beyond `limit`."""
    version = table.version()
    for at, entry in ledger.entries(table.handle()):
        consumed = entry.upstreams.get(upstream)
        if consumed is None:
            continue
        if consumed[1] <= limit:
            return version
        version = at - 1
    return max(version, CREATED)


def is_judged_in(spec: TableSpec, rule: Rule) -> bool:
    """Whether the table still has what the rule is about.

    A rule that quarantines is judged where changes are taken up, on values as they came; those that the table protects
    can not be judged again.
    """
    if not isinstance(spec, ChangeSpec) or not isinstance(rule, RowRule) or not rule.quarantines:
        return True
    read = {*rule.columns, *rule.condition_columns}
    return not read & set(spec.protections) and (not spec.select or read <= set(spec.columns))


def keys_of(spec: TableSpec) -> tuple[str, ...]:
    """The columns that name a row to people."""
    return spec.grain if isinstance(spec, DerivedSpec) else () if isinstance(spec, BronzeSpec) else spec.keys


def private_columns(pipeline: Pipeline, name: str) -> Callable[[str], bool]:
    """Which columns people may not see in verdicts.

    Those that the spec decides on as personal. Of a table that a query makes it can not be told what a column is made
    of: all of them, where anything above keeps personal data as it is.
    """
    spec = pipeline.tables[name]
    if isinstance(spec, ChangeSpec):
        return spec.pii.__contains__
    decisions = [one.pii for above in pipeline.above(name) if isinstance(one := pipeline.tables[above], ChangeSpec)]
    if any("keep" in pii.values() for pii in decisions):
        return lambda _: True
    return {column for pii in decisions for column in pii}.__contains__
