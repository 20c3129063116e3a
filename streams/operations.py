"""What a person asks for while the service runs: carried out by the service, or by the command where none runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import SparkSession

from checkpoints.requests import Admit, Answer, Asked, Decide, Redrive, Requests
from schemas.errors import SluiceError
from streams import logs
from streams.explain import explain
from streams.graph import Graph
from streams.quality.decide import decide
from streams.queries import QuerySupervisor
from streams.redrive import redrive

log = logs.get(__name__)


class Operations:
    """Carries out the requests of a lake, one after the other.

    `on_change` is told which table has new rows.
    """

    def __init__(
        self,
        graph: Graph,
        spark: SparkSession,
        queries: Mapping[str, QuerySupervisor],
        on_change: Callable[[str], None],
    ) -> None:
        self._graph = graph
        # Transaction ids are settings of a session: each writer needs one of its own.
        self._spark = spark.newSession()
        self._queries = queries
        self._on_change = on_change
        self._requests = Requests(graph.lake)

    def serve(self) -> None:
        """Carry out what waits."""
        for request, action in self._requests.waiting():
            try:
                answer = Answer(result=self.carry_out(action))
            except SluiceError as error:
                answer = Answer(error=str(error))
            except Exception as error:  # noqa: BLE001 - whoever asked is told, and the service goes on
                answer = Answer(error=explain(error))
            self._requests.answer(request, answer)
            log.info("request carried out", action=action.action, table=action.table, error=answer.error)

    def carry_out(self, action: Asked) -> dict[str, Any]:
        """Do what is asked; the account of it, as JSON values."""
        match action:
            case Redrive():
                done = redrive(self._graph, self._spark, action)
                if done.version is not None:
                    self._on_change(action.table)
                return done.to_json()
            case Decide():
                decided = decide(self._graph, self._spark, action)
                # A table further below may wait for it, whose own upstreams have not changed.
                for table in (action.table, *self._graph.pipeline.below(action.table)):
                    self._on_change(table)
                return decided
            case Admit():
                query = self._queries.get(action.table)
                if query is None or query.state != "paused":
                    return {"table": action.table, "admitted": False}
                query.admit()
                return {"table": action.table, "admitted": True}
