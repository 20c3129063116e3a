"""What `sluice validate --explain` says of a derived table."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from streams.cli import app
from tests.support import people

PLAN = """\
gold.fact_visits, one row per visit
  a change of silver.visits is found by visit
    visit: reads silver.visits by visit
  a change of gold.dim_person is found by id
    id: reads silver.visits by person
    id: reads gold.dim_person by id, which it is joined with
"""


def explained(folder: Path, table: str) -> Result:
    return CliRunner().invoke(app, ["validate", str(folder), "--explain", table])


def test_it_says_what_is_read_for_a_change(tmp_path: Path) -> None:
    folder = people.write(tmp_path / "pipeline")
    found = explained(folder, "gold.fact_visits")
    assert found.exit_code == 0
    assert PLAN in found.output


def test_it_says_where_a_key_stops(tmp_path: Path) -> None:
    folder = people.write(tmp_path / "pipeline")
    (folder / "tables" / "gold.counts.yml").write_text(
        "table: gold.counts\ngrain: [visits, person]\n"
        "query: SELECT person, count(*) AS visits FROM silver.visits GROUP BY person\n"
        "affected_by: {silver.visits: {visit: visits, person: person}}\n"
    )
    found = explained(folder, "gold.counts")
    assert "    visits: stops where it is the result of an aggregate: what is behind is read whole\n" in found.output
    assert "    person: reads silver.visits by person\n" in found.output


def test_only_derived_tables_have_a_plan(tmp_path: Path) -> None:
    folder = people.write(tmp_path / "pipeline")
    found = explained(folder, "silver.visits")
    assert found.exit_code == 2
    assert "silver.visits is kept without a query" in found.output
    unknown = explained(folder, "gold.fact_visit")
    assert unknown.exit_code == 2
    assert "There is no table `gold.fact_visit`. Did you mean `gold.fact_visits`?" in " ".join(unknown.output.split())
