"""The demo as one watches it: a live table on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from streams.demo.board import Board
from streams.demo.watch import LAYERS, TableLook

_LINE_SECONDS = 5.0
_FRAMES_PER_SECOND = 2
_STATE_STYLES = {"running": "green", "waiting": "yellow", "failed": "red", "given up": "red"}


@contextlib.contextmanager
def shown(board: Board, console: Console) -> Iterator[None]:
    """Show the board until the end of the block."""
    if console.is_terminal:
        # Standard error is the service's log by now; rich must not take it over.
        with Live(
            get_renderable=lambda: render(board),
            console=console,
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_print_lines, args=(board, console, ended), name="view", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def render(board: Board) -> RenderableType:
    """The board as a table with a section per layer."""
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for heading in ("table", "state"):
        grid.add_column(heading, min_width=9)
    for heading in ("rows", "read", "accepted", "rejected", "dropped", "lag", "last commit"):
        grid.add_column(heading, justify="right", min_width=6)
    for layer in LAYERS:
        tables = board.look.of_layer(layer)
        for one in tables:
            grid.add_row(*_cells(one, board.state_of(one.name)))
        if tables and layer != LAYERS[-1]:
            grid.add_row()
    head = Text.assemble((f"{board.elapsed:4.0f} s  ", "bold"), board.headline())
    foot = Text(f"Log: {board.log}    Ctrl-C ends the demo.", style="dim")
    if not board.look.tables:
        return Group(head, Text(), foot)
    lag = Text("Lag: records for bronze; versions of their upstreams for the other tables.", style="dim")
    problems = [Text(f"{name}: {problem}", style="red") for name, problem in board.problems().items()]
    return Group(head, Text(), grid, Text(), *problems, lag, foot)


def line(board: Board) -> str:
    """The board as one plain line."""
    parts = [f"{board.elapsed:4.0f} s  {board.headline()}"]
    for layer in LAYERS:
        tables = board.look.of_layer(layer)
        if not tables:
            continue
        lags = [one.lag for one in tables]
        behind = "?" if None in lags else f"{sum(lag or 0 for lag in lags):,}"
        text = f"{layer} {sum(one.rows for one in tables):,} rows, lag {behind}"
        rejected = sum(one.outcomes.rejected for one in tables if one.outcomes)
        parts.append(f"{text}, {rejected} rejected" if layer == "bronze" else text)
    problems = [f"{table} {board.state_of(table)}: {problem}" for table, problem in board.problems().items()]
    return " · ".join([*parts, *problems])


def _cells(one: TableLook, state: str) -> list[str | Text]:
    out = one.outcomes
    counts = (out.read, out.accepted, out.rejected, out.dropped) if out else (None,) * 4
    read, accepted, rejected, dropped = ("" if count is None else f"{count:,}" for count in counts)
    return [
        Text(one.name, style="bold" if one.rows else ""),
        Text(state, style=_STATE_STYLES.get(state, "dim")),
        f"{one.rows:,}",
        read,
        accepted,
        Text(rejected, style="red" if out and out.rejected else ""),
        dropped,
        "-" if one.lag is None else f"{one.lag:,}",
        "" if one.age_seconds is None else f"{one.age_seconds:.0f} s ago",
    ]


def _print_lines(board: Board, console: Console, ended: threading.Event) -> None:
    phase, waited = "", 0.0
    while not ended.wait(0.2):
        waited += 0.2
        if board.phase != phase or waited >= _LINE_SECONDS:
            phase, waited = board.phase, 0.0
            console.print(line(board), markup=False, highlight=False, soft_wrap=True)
