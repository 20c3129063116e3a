"""What one sees while the demo runs, on a terminal and elsewhere."""

from __future__ import annotations

import time
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

from rich.console import Console

from streams.demo.board import Board
from streams.demo.view import line, render, shown
from streams.demo.watch import Look, Outcomes, TableLook

LOOK = Look(
    tables=(
        TableLook("bronze.orders", 1200, 34, 0.5, Outcomes(1204, 1200, 3, 1)),
        TableLook("bronze.fx_rates", 12, None, 1.0, Outcomes(13, 12, 1, 0)),
        TableLook("silver.orders", 1100, 2, 0.7, None),
        TableLook("gold.fact_sales", 1000, 1, 2.0, None),
    ),
    ends={"shop.public.orders": 1238},
)


def board(look: Look = LOOK) -> Board:
    made = Board(started=time.time(), log=Path("/tmp/service.log"), phase="live traffic")
    made.watcher = SimpleNamespace(look=look, first_rows={})  # type: ignore[assignment]
    return made


def rendered(shown: Board) -> str:
    console = Console(file=StringIO(), width=120)
    console.print(render(shown))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_row_per_table_with_its_counts() -> None:
    rows = {cells[0]: cells[1:] for row in rendered(board()).splitlines() if "." in row and (cells := row.split())}
    assert rows["bronze.orders"][1:7] == ["1,200", "1,204", "1,200", "3", "1", "34"]
    assert rows["bronze.fx_rates"][6] == "-"  # its lag is not known
    assert rows["gold.fact_sales"][1:3] == ["1,000", "1"]


def test_a_line_sums_up_each_layer() -> None:
    text = line(board())
    assert "live traffic · bronze 1,212 rows, lag ?, 4 rejected · silver 1,100 rows, lag 2 · gold 1,000 rows" in text


def test_before_the_first_look_there_is_only_the_phase() -> None:
    assert "live traffic" in rendered(board(Look()))
    assert line(board(Look())).endswith("live traffic")


def test_a_table_that_fails_is_named_with_its_problem() -> None:
    failing = board()
    part = SimpleNamespace(name="silver.orders", state="failed", problem="the disk is full")
    failing.service = SimpleNamespace(flow=SimpleNamespace(parts=[part]))  # type: ignore[assignment]
    assert "silver.orders failed: the disk is full" in line(failing)
    assert "silver.orders: the disk is full" in rendered(failing)


def test_elsewhere_than_on_a_terminal_it_prints_plain_lines() -> None:
    console = Console(file=StringIO(), width=120)
    with shown(board(), console):
        time.sleep(0.5)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("live traffic") == 1
    assert "\x1b" not in text
