"""What a person asks for while the service runs: carried out by the service, or by the command where none runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from checkpoints.failpoints import reach
from checkpoints.journal import Act
from checkpoints.lake import Lake
from checkpoints.requests import (
    Admit,
    Answer,
    Asked,
    Backfill,
    Decide,
    Redrive,
    Replay,
    Requests,
    Reset,
    Rewind,
    Vacuum,
)
from schemas.errors import SluiceError
from schemas.settings import Settings
from streams import logs
from streams.acts.carry_out import Planned, carry_out, written_down
from streams.acts.errors import NotAtRest
from streams.explain import explain
from streams.flow import Flow
from streams.graph import Graph
from streams.quality.decide import decide
from streams.redrive import redrive

log = logs.get(__name__)


class NotStarted(SluiceError):
    """The service was asked for what it builds before it has built it."""

    def __init__(self) -> None:
        super().__init__("The service is still starting. Ask again.")


@dataclass(frozen=True)
class Turn:
    """A request that waits until everything is at rest."""

    request: str
    action: Planned
    asked: Act

    def carry_out(self, graph: Graph, spark: SparkSession, settings: Settings, interrupted: list[str]) -> None:
        """Do it, and answer; not where it was withdrawn, or something had to be interrupted to come to rest."""

        def act() -> dict[str, Any]:
            if interrupted:
                raise NotAtRest(interrupted, settings.drain_seconds)
            return carry_out(graph, spark, settings, self.action, self.asked.author, self.asked)

        _answer(Requests(graph.lake), self.request, self.action, act)


class Operations:
    """Carries out the requests of a lake, one after the other; what needs everything at rest is handed to `on_turn`.

    Backfills go on beside the others. Without `on_turn`, as while a run drains, both are left to wait.
    """

    def __init__(
        self,
        lake: Lake,
        flow: Callable[[], Flow],
        spark: SparkSession,
        settings: Settings,
        on_turn: Callable[[Turn], None] | None,
    ) -> None:
        self._flow = flow
        # Transaction ids are settings of a session: each writer needs one of its own.
        self._spark = spark.newSession()
        self._settings = settings
        self._requests = Requests(lake)
        self._on_turn = on_turn
        self._taken: set[str] = set()

    def serve(self) -> None:
        """Carry out what waits; nothing is begun beside one that everything comes to rest for."""
        for name, request in self._requests.waiting():
            if name in self._taken:
                return
            action = request.action
            # One entry of the journal for one request, also where it is carried out anew after a crash.
            asked = Act(id=name, at=request.at, author=request.author, action=action)
            if isinstance(action, Reset | Replay | Rewind):
                if self._on_turn is not None:
                    self._taken.add(name)
                    self._on_turn(Turn(name, action, asked))
                    return
                continue
            if isinstance(action, Backfill):
                if self._on_turn is not None:
                    self._flow().bring_in(name, request, action)
                continue
            _answer(self._requests, name, action, lambda asked=asked: self._carry_out(asked))  # type: ignore[misc]

    def _carry_out(self, asked: Act) -> dict[str, Any]:
        """Do what is asked beside the running flow; the account of it, as JSON values."""
        flow = self._flow()
        match action := asked.action:
            case Redrive() if action.dry_run:
                return redrive(flow.graph, self._spark, action).to_json()
            case Redrive():
                done = written_down(flow.graph, asked, lambda: redrive(flow.graph, self._spark, action).to_json())
                if done["version"] is not None:
                    flow.wake_below(action.table)
                return done
            case Decide():
                decided = written_down(flow.graph, asked, lambda: decide(flow.graph, self._spark, action))
                # A table further below may wait for it, whose own upstreams have not changed.
                for table in (action.table, *flow.graph.pipeline.below(action.table)):
                    flow.wake_below(table)
                return decided
            case Admit():
                query = flow.queries.get(action.table)
                held = query.problem if query is not None and query.state == "paused" else None
                account = {"table": action.table, "held": held, "admitted": False}
                if query is None or held is None or action.dry_run:
                    return account

                def admit() -> dict[str, Any]:
                    query.admit()
                    return {**account, "admitted": True}

                return written_down(flow.graph, asked, admit)
            case Vacuum():
                return carry_out(flow.graph, self._spark, self._settings, action, asked.author, asked)
        raise TypeError(action)


def _answer(requests: Requests, name: str, action: Asked, act: Callable[[], dict[str, Any]]) -> None:
    if not requests.waits(name):
        log.info("request withdrawn", action=action.action)
        return
    try:
        answer = Answer(result=act())
    except SluiceError as error:
        answer = Answer(error=str(error))
    except Exception as error:  # noqa: BLE001 - whoever asked is told, and the service goes on
        answer = Answer(error=explain(error))
    reach("request.before_answer")
    requests.answer(name, answer)
    log.info("request carried out", action=action.action, error=answer.error)
