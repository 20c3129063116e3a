"""What is compared when the service starts: checkpoint, ledger, positions and versions, each mistake by its file."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from checkpoints.errors import (
    CheckpointBehind,
    CheckpointDamaged,
    CheckpointLost,
    OffsetsGone,
    PositionAhead,
    TableBehind,
    TableRolledBack,
    TopicRecreated,
    UnreadableOffsets,
)
from schemas.errors import SluiceError
from schemas.loader import load
from schemas.settings import Settings
from streams.graph import Graph
from streams.starts import check_topic
from tests.support.bronze import Feeder, change
from tests.support.people import person

TABLE = "bronze.people"


@pytest.fixture
def fed(graph: Graph, feeder: Feeder) -> Graph:
    for number in range(4):
        feeder.feed_and_drive(TABLE, change("c", person(number), number + 1))
    return graph


def checkpoint(graph: Graph) -> Path:
    return Path(graph.bronze[TABLE].checkpoint)


def test_what_fits_is_let_through_again_and_again(fed: Graph, spark: SparkSession) -> None:
    for _ in range(2):
        fed.prepare(spark)


def test_a_batch_that_is_planned_and_not_written_is_let_through(fed: Graph, spark: SparkSession) -> None:
    folder = checkpoint(fed)
    text = (folder / "offsets/3").read_text()
    (folder / "commits/3").write_text("v1\n{}")
    (folder / "offsets/4").write_text(text.replace('{"0": 4}', '{"0": 9}'))
    fed.prepare(spark)


def test_what_takes_back_a_change_by_hand_is_let_through(fed: Graph, spark: SparkSession) -> None:
    table = DeltaTable(fed.lake.table(TABLE))
    written = table.version()
    table.delete("true")
    table.restore(written)
    fed.prepare(spark)


def remove(name: str):
    def act(graph: Graph) -> None:
        (checkpoint(graph) / name).unlink()

    return act


def cut_short(graph: Graph) -> None:
    file = checkpoint(graph) / "offsets/3"
    file.write_text(file.read_text()[:30])


def emptied(name: str):
    def act(graph: Graph) -> None:
        (checkpoint(graph) / name).write_bytes(b"")

    return act


def other_offsets(graph: Graph) -> None:
    file = checkpoint(graph) / "offsets/3"
    file.write_text(file.read_text().replace('{"0": 4}', '{"0": 7}'))


def older_copy(graph: Graph) -> None:
    for name in ("offsets/3", "offsets/2", "commits/2"):
        (checkpoint(graph) / name).unlink()


def lost(graph: Graph) -> None:
    shutil.rmtree(checkpoint(graph))


def rolled_back(graph: Graph) -> None:
    DeltaTable(graph.lake.table(TABLE)).restore(2)


def silver_rolled_back(graph: Graph) -> None:
    DeltaTable(graph.lake.table("silver.people")).restore(2)


def older_table(graph: Graph) -> None:
    """The log of an older copy: its newest commits are not there."""
    log = Path(graph.lake.table(TABLE), "_delta_log")
    for file in sorted(log.glob("*.json"))[-2:]:
        file.unlink()
    (checkpoint(graph) / "commits/3").write_text("v1\n{}")


def older_silver(graph: Graph) -> None:
    log = Path(graph.lake.table("silver.people_history"), "_delta_log")
    for file in sorted(log.glob("*.json"))[-2:]:
        file.unlink()


def made_anew(graph: Graph) -> None:
    shutil.rmtree(graph.lake.table(TABLE))


CASES = [
    # what was done to it, what it is called, what the sentence names
    (remove("metadata"), CheckpointDamaged, "g0/metadata: it is missing"),
    (remove("offsets/1"), CheckpointDamaged, "g0/offsets/1: it is missing, and 3 is there"),
    (remove("commits/1"), CheckpointDamaged, "g0/commits/1: it is missing, and 2 is there"),
    (remove("commits/2"), CheckpointDamaged, "g0/commits/2: it is missing, and batch 3 is planned"),
    (emptied("offsets/3"), UnreadableOffsets, "g0/offsets/3 can not be used: it is cut short"),
    (emptied("metadata"), CheckpointDamaged, "g0/metadata: it is cut short"),
    (emptied("commits/2"), CheckpointDamaged, "g0/commits/2: it is cut short"),
    (cut_short, UnreadableOffsets, "g0/offsets/3 can not be used: it is cut short"),
    (other_offsets, CheckpointBehind, "has other offsets for batch 3 than the ledger"),
    (older_copy, CheckpointBehind, "ends with batch 1"),
    (lost, CheckpointLost, "has no offsets"),
    (rolled_back, TableRolledBack, "bronze.people was rolled back by a RESTORE"),
    (silver_rolled_back, TableRolledBack, "silver.people was rolled back by a RESTORE"),
    (older_table, TableBehind, "holds batches up to 1, but .* says that batch 3 was committed"),
    (older_silver, PositionAhead, r"gold\.dim_person has consumed silver\.people_history up to version"),
    (made_anew, TableBehind, "holds no batch, but .* says that batch 2 was committed"),
]


@pytest.mark.parametrize(("damage", "error", "sentence"), CASES, ids=[case[2][:30] for case in CASES])
def test_what_does_not_fit_is_refused_by_name_and_with_its_runbook(
    damage: object,
    error: type[SluiceError],
    sentence: str,
    fed: Graph,
    people_folder: Path,
    settings: Settings,
    spark: SparkSession,
) -> None:
    damage(fed)  # type: ignore[operator]
    again = Graph.build(load(people_folder), settings)

    with pytest.raises(error, match=sentence) as found:
        again.prepare(spark)

    runbook = str(found.value).partition("runbooks/")[2].partition(".md")[0]
    assert Path("runbooks", f"{runbook}.md").is_file()


@dataclass(frozen=True)
class Bounds:
    """What a broker says of a topic."""

    id: str
    partitions: dict[int, tuple[int, int]]

    def first(self, partition: int) -> int:
        return self.partitions[partition][0]

    def end(self, partition: int) -> int:
        return self.partitions[partition][1]


BOUNDS = [
    # the topic as it is now, of which 0-3 was read; what that is called; what the sentence names
    (Bounds("one", {0: (0, 4)}), None, ""),
    (Bounds("one", {0: (4, 4)}), None, ""),
    (Bounds("two", {0: (0, 2)}), TopicRecreated, r"deleted and created again \(id one before, two now\)"),
    (Bounds("two", {0: (0, 90)}), TopicRecreated, r"deleted and created again \(id one before, two now\)"),
    (Bounds("one", {0: (0, 2)}), TopicRecreated, r"partition 0 was read up to 4 and ends at 2"),
    (Bounds("one", {0: (7, 9)}), OffsetsGone, r"db.people\[0\] offsets 4-6"),
    (Bounds("one", {1: (0, 9)}), OffsetsGone, r"db.people\[0\] is not there any more"),
]


@pytest.mark.parametrize(("bounds", "error", "sentence"), BOUNDS)
def test_a_topic_that_does_not_fit_is_refused(
    bounds: Bounds, error: type[SluiceError] | None, sentence: str, graph: Graph, feeder: Feeder
) -> None:
    outcome = feeder.feed(TABLE, *(change("c", person(number), number + 1) for number in range(4)))
    assert outcome.handover is not None
    outcome.handover.rows.release()
    step = graph.bronze[TABLE]
    step.begin(step.start.model_copy(update={"topic_id": "one"}))
    with pytest.raises(error, match=sentence) if error else contextlib.nullcontext():
        check_topic(step, bounds)  # type: ignore[arg-type]
