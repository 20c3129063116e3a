"""Bringing to its end what an earlier holder of the lease began."""

from __future__ import annotations

from checkpoints import generations
from checkpoints.journal import Journal
from checkpoints.requests import Reset
from streams import logs
from streams.acts.rewind import carry_out_rewind, cut_short
from streams.graph import Graph

log = logs.get(__name__)


def resume(graph: Graph, *, is_start: bool = True) -> bool:
    """Bring rewinds that were cut short to their end, before anything else is written; whether there were any.

    A reset is one small file: where that is there, it is done. The other acts are harmless to leave: at the start, when
    nobody can be at one any more, they are marked as cut short. Raises HalfDone.
    """
    journal = Journal(graph.lake)
    found = False
    for act in journal.begun():
        if isinstance(act.action, Reset) and generations.find(graph.lake, act.action.table, act.after["generation"]):
            journal.done(act)
            continue
        if act.action.action != "rewind":
            if is_start:
                journal.failed(act, "It was cut short, and has changed nothing, or a part that is harmless. Ask again.")
            continue
        log.warning("going on with a rewind that was cut short", act=act.id[:8], who=act.author.who)
        try:
            carry_out_rewind(graph, act)
        except Exception as error:
            raise cut_short(act, error) from error
        journal.done(act)
        found = True
    return found
