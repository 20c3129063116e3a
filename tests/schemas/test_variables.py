"""Values that specs name: put into their places, and mistakes told with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import InvalidPipeline
from schemas.loader import load
from schemas.spec import DerivedSpec
from tests.support import people

SPEC = """table: gold.some
grain: [visit]
query: |
  SELECT visit, ${first} AS one  # ${not_this}
  FROM silver.visits
affected_by: {silver.visits: visit}
"""


def pipeline(folder: Path, variables: str | None, spec: str = SPEC) -> Path:
    made = people.write(folder / "pipeline")
    (made / "tables" / "gold.some.yml").write_text(spec.replace("  # ${not_this}", ""))
    if variables is not None:
        (made / "variables.yml").write_text(variables)
    return made


def test_a_value_stands_where_its_name_stood(tmp_path: Path) -> None:
    spec = load(pipeline(tmp_path, "first: 7\n")).tables["gold.some"]
    assert isinstance(spec, DerivedSpec)
    assert "SELECT visit, 7 AS one" in spec.query


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (None, "gold.some.yml:4: There is no variable `first`. Write `first: <value>` into `variables.yml`."),
        ("furst: 1", "gold.some.yml:4: There is no variable `first`. Did you mean `furst`?"),
        ("first: [1]", "variables.yml:1 first: It is neither an integer nor a plain text."),
        ('first: "x\'"', "variables.yml:1 first: It is neither an integer nor a plain text."),
        ("First: 1\nfirst: 1", "variables.yml:1 First: It is not a name."),
        ("- 1", "variables.yml:1: The file is not a mapping."),
        ("first: {", "The file is not YAML"),
    ],
)
def test_mistakes_are_told(variables: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidPipeline) as error:
        load(pipeline(tmp_path, variables))
    assert said in str(error.value)
