"""Each benchmark is listed and documented, and says what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.loader import load
from tests.bench import shop
from tests.bench.__main__ import BENCHMARKS, main

PAGE = Path(__file__).parents[2] / "runbooks" / "benchmarks.md"


def test_each_is_listed_with_a_sentence_and_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(BENCHMARKS)]] == list(BENCHMARKS)
    assert all(len(line.split()) > 3 for line in lines[: len(BENCHMARKS)])
    assert all(f'ARGS="{name}' in PAGE.read_text() for name in BENCHMARKS)


@pytest.mark.parametrize("name", ["w2", "w3", "w4"])
def test_a_common_workload_says_where_it_looked(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--peers", str(tmp_path / "nowhere")]) == 1

    assert f"not at {tmp_path / 'nowhere'}" in capsys.readouterr().err


def test_the_pipelines_are_ones_that_a_user_could_deploy(tmp_path: Path) -> None:
    assert load(shop.write_orders(tmp_path / "orders")).order == (shop.ORDERS, shop.ORDERS_NOW)
    customers = load(shop.write_customers(tmp_path / "customers"))
    assert customers.order == (shop.CUSTOMERS, shop.CUSTOMERS_HISTORY, shop.CUSTOMERS_VERSIONS)
