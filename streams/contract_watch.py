"""Contracts that change while the service runs: additive changes are taken up between batches, others are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from checkpoints import deployed
from checkpoints.lake import Lake
from schemas.contract import Contract
from schemas.decode import Decoder
from schemas.errors import InvalidPipeline
from schemas.loader import CONTRACTS, TABLES, load
from schemas.pipeline import Pipeline
from schemas.spec import ChangeSpec
from schemas.table_columns import row_in, with_metadata
from schemas.tagged import Tagged
from schemas.usage import breaks, users_of
from sinks.table import Table
from streams import logs
from streams.intake.supervisor import PullSupervisor
from streams.metrics import Metrics
from streams.personal import taken_along
from streams.queries import QuerySupervisor

log = logs.get(__name__)

Fingerprint = frozenset[tuple[str, int, int]]


class ContractWatch:
    """Looks at the pipeline's folder from time to time.

    A contract that has changed is taken up where the table can hold what it describes: with columns added, and none
    of another type. Specs are read at the start alone; that they have changed is said, and no more. What was taken up
    is kept as deployed, once no contract is refused.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        lake: Lake,
        queries: Callable[[], Mapping[str, QuerySupervisor | PullSupervisor]],
        metrics: Metrics,
    ) -> None:
        self._pipeline = pipeline
        self._lake = lake
        self._queries = queries
        self._metrics = metrics
        self._seen = _fingerprint(pipeline.folder)

    def look(self) -> None:
        """Take up what has changed since the last look."""
        now = _fingerprint(self._pipeline.folder)
        if now == self._seen:
            return
        self._seen = now
        try:
            changed = load(self._pipeline.folder)
        except InvalidPipeline as error:
            self._metrics.contracts(refused=True)
            log.error("contracts refused", error=str(error))  # noqa: TRY400 - a sentence, for whoever wrote them
            return
        if changed.tables != self._pipeline.tables:
            log.warning("specs have changed: they are read when the service starts")
        refused = False
        for name, query in self._queries().items():
            spec = self._pipeline.tables[name]
            contract = changed.contracts.get(query.step.spec.contract)
            if contract is None or contract.hash == query.step.contract.hash:
                continue
            if found := [*refusals(changed, query, contract), *self._exposed(query, contract)]:
                refused = True
                log.error("contract refused", table=spec.table, contract=contract.name, error="; ".join(found))
            else:
                query.adopt(contract)
        self._metrics.contracts(refused=refused)
        if not refused:
            deployed.save_contracts(self._lake, self._pipeline.folder)

    def _exposed(self, query: QuerySupervisor | PullSupervisor, contract: Contract) -> list[str]:
        """What a contract tags as personal that tables below have taken along already."""
        spec, found = query.step.spec, []
        tagged = Tagged.of(spec, contract)
        for name in self._pipeline.downstreams(spec.table):
            below, table = self._pipeline.tables[name], Table(name, self._lake)
            if isinstance(below, ChangeSpec) and table.exists:
                found += taken_along(below, table.schema().names, tagged.is_field)
        return found


def refusals(pipeline: Pipeline, query: QuerySupervisor | PullSupervisor, contract: Contract) -> list[str]:
    """Why a table can not take a contract up, with what breaks below it; nothing where it can."""
    step = query.step
    spec, table = step.spec, step.table
    present = table.schema()
    decoder = Decoder.of(spec, contract, row_in(spec, present))
    wanted = with_metadata(decoder.payload)
    found = table.differences(wanted, spec.partition_by, additive=spec.schema_change != "freeze")
    users = users_of(pipeline, spec.table)
    return [f"{one}{breaks(one, users)}" for one in found]


def _fingerprint(folder: Path) -> Fingerprint:
    found = set()
    for part in (CONTRACTS, TABLES):
        for file in (folder / part).glob("*"):
            try:
                stat = file.stat()
            except FileNotFoundError:
                continue
            found.add((f"{part}/{file.name}", stat.st_mtime_ns, stat.st_size))
    return frozenset(found)
