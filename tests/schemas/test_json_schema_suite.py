"""The official JSON Schema Test Suite, through the function that judges records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pyarrow as pa
import pytest

from schemas.schema_set import SchemaSet
from schemas.validation import Validation

SUITE = Path(__file__).parents[3] / "shared" / "json-schema-test-suite"
DRAFTS = {
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
    "draft7": "http://json-schema.org/draft-07/schema#",
}
REMOTES = "http://localhost:1234/"

pytestmark = pytest.mark.skipif(not SUITE.is_dir(), reason=f"the JSON Schema Test Suite is not at {SUITE}")


def remotes(draft: str) -> SchemaSet:
    """The schemas that the suite serves at localhost:1234; those of other drafts stand in their own folders."""
    found: dict[str, Any] = {}
    for file in sorted((SUITE / "remotes").rglob("*.json")):
        name = file.relative_to(SUITE / "remotes").as_posix()
        if name.startswith("draft") and not name.startswith(f"{draft}/"):
            continue
        schema = json.loads(file.read_bytes())
        if isinstance(schema, dict):
            schema.setdefault("$schema", DRAFTS[draft])
        found[REMOTES + name] = schema
    return SchemaSet.of(found)


def groups(draft: str, part: str) -> Iterator[tuple[str, dict[str, Any]]]:
    folder = SUITE / "tests" / draft / {"required": "", "optional": "optional", "format": "optional/format"}[part]
    for file in sorted(folder.glob("*.json")):
        for group in json.loads(file.read_bytes()):
            yield file.stem, group


def judged(group: dict[str, Any], draft: str, served: SchemaSet) -> list[bool]:
    schema = group["schema"]
    if isinstance(schema, dict):
        schema = {"$schema": DRAFTS[draft], **schema}
    uri = "https://contracts.invalid/contract.schema.json"
    validation = Validation(json.dumps(schema), uri, served.reachable(schema, uri))
    values = pa.array([json.dumps(test["data"]).encode() for test in group["tests"]], pa.binary())
    return [violations is None for violations in validation.of_bytes(values).to_pylist()]


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("part", ["required", "optional", "format"])
def test_the_suite(draft: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    served, counts = remotes(draft), Counter[str]()
    wrong: list[str] = []
    for file, group in groups(draft, part):
        try:
            answers = judged(group, draft, served)
        except (jsonschema_rs.ValidationError, ValueError) as error:
            counts["refused at load"] += len(group["tests"])
            wrong.append(f"{file}: {group['description']}: refused: {str(error).splitlines()[0]}")
            continue
        for test, valid in zip(group["tests"], answers, strict=True):
            # Sluice asserts `format`, which the standard leaves open and these tests take for an annotation.
            asserts_format = file == "format" and part == "required" and "annotation" in test["description"]
            counts["asserted" if asserts_format else "passed" if valid == test["valid"] else "failed"] += 1
            if valid != test["valid"] and not asserts_format:
                wrong.append(f"{file}: {group['description']}: {test['description']}")
    with capsys.disabled():
        print(
            f"\nJSON Schema Test Suite, {draft}, {part}: {counts['passed']} passed, "
            f"{counts['refused at load']} refused at load, {counts['failed']} failed"
            + (f", {counts['asserted']} about `format` as a mere annotation" if counts["asserted"] else "")
        )
        for line in wrong:
            print("  ", line)
    assert counts["passed"]
    assert counts["failed"] == 0, wrong
