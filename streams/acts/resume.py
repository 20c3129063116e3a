"""Bringing to its end what an earlier holder of the lease began."""

from __future__ import annotations

from checkpoints import generations
from checkpoints.journal import Journal
from checkpoints.requests import Reset
from streams import logs
from streams.acts.rewind import carry_out_rewind
from streams.graph import Graph

log = logs.get(__name__)


def resume(graph: Graph) -> bool:
    """Bring rewinds that were cut short to their end, before anything else is written; whether there were any.

    A reset is one small file: where that is there, it is done. The other acts are harmless to leave: they are marked as
    cut short.
    """
    journal = Journal(graph.lake)
    found = False
    for act in journal.begun():
        if isinstance(act.action, Reset) and generations.find(graph.lake, act.action.table, act.after["generation"]):
            journal.done(act)
            continue
        if act.action.action != "rewind":
            journal.failed(act, "It was cut short, and has changed nothing, or a part that is harmless. Ask again.")
            continue
        log.warning("going on with a rewind that was cut short", act=act.id[:8], who=act.author.who)
        carry_out_rewind(graph, act)
        journal.done(act)
        found = True
    return found
