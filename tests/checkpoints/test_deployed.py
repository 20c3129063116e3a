"""What is deployed is kept whole, once, and laid out again as the loader reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from checkpoints.deployed import MOST_KEPT, load_deployed, read, restore, save, save_contracts
from checkpoints.lake import Lake
from schemas.loader import load
from tests.support import people


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(str(tmp_path / "lake"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return people.write(tmp_path / "pipeline")


def kept(lake: Lake) -> list[str]:
    return sorted(path.name for path in Path(lake.root, "_ops", "deployed").iterdir())


def test_a_folder_is_restored_as_it_was(lake: Lake, folder: Path, tmp_path: Path) -> None:
    (folder / "dq.yml").write_text("{}\n")
    (folder / "contracts" / "people.schema.json~").write_text("an editor's")
    (folder / "README.md").write_text("notes")
    assert save(lake, read(folder))
    restored = restore(lake, tmp_path / "restored")
    assert restored is not None
    assert read(restored) == read(folder)
    assert not (restored / "README.md").exists()
    assert load(restored).order == load(folder).order
    found = load_deployed(lake)
    assert found is not None
    assert found.pipeline.contracts["people"].hash == load(folder).contracts["people"].hash


def test_nothing_is_deployed_before_something_is(lake: Lake, tmp_path: Path) -> None:
    assert restore(lake, tmp_path / "restored") is None
    assert load_deployed(lake) is None
    assert not save_contracts(lake, tmp_path)
    assert not save(lake, {})
    assert not Path(lake.root).exists()


def test_what_has_not_changed_is_not_written_again(lake: Lake, folder: Path) -> None:
    files = read(folder)
    assert save(lake, files)
    assert not save(lake, read(folder))
    assert save(lake, {**files, "dq.yml": b"{}"})
    assert save(lake, files)  # back again: the pointer alone moves
    assert len(kept(lake)) == 3
    found = load_deployed(lake)
    assert found is not None
    assert found.pipeline.rules == {}


def test_the_newest_are_kept(lake: Lake) -> None:
    for number in range(MOST_KEPT + 5):
        save(lake, {"dq.yml": f"# {number}\n".encode()})
    assert len(kept(lake)) == MOST_KEPT + 1
    pointer = json.loads(Path(lake.root, "_ops/deployed/current.json").read_text())
    assert kept(lake) == sorted(["current.json", *(one["hash"] for one in pointer["deployed"])])
    current = Path(lake.root, "_ops/deployed", pointer["deployed"][0]["hash"], "dq.yml")
    assert current.read_text() == f"# {MOST_KEPT + 4}\n"


def test_a_folder_that_was_left_half_written_is_written_again(lake: Lake, folder: Path) -> None:
    save(lake, read(folder))
    root = Path(lake.root, "_ops/deployed")
    (root / "current.json").unlink()  # as a crash leaves it: the pointer comes last
    [half] = kept(lake)
    (root / half / "tables" / "bronze.people.yml").write_text("half")
    assert load_deployed(lake) is None
    assert save(lake, read(folder))
    found = load_deployed(lake)
    assert found is not None
    assert found.pipeline.order == load(folder).order


def test_contracts_are_taken_up_beside_specs_that_are_not(lake: Lake, folder: Path) -> None:
    save(lake, read(folder))
    contract = people.CONTRACT | {"properties": {"id": {"type": "integer"}}}
    (folder / "contracts" / "people.schema.json").write_text(json.dumps(contract))
    (folder / "contracts" / "visits.schema.json").unlink()
    (folder / "tables" / "silver.people.yml").unlink()
    assert save_contracts(lake, folder)
    found = load_deployed(lake)
    assert found is not None
    # Its silver tables read fields that the contract has no more, which is for the loader of a change to refuse.
    assert found.pipeline.contracts["people"].row_type.names == ["id"]
    assert {"silver.people", "bronze.visits"} <= set(found.pipeline.tables)
    assert "visits" in found.pipeline.contracts
