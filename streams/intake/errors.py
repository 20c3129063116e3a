"""What keeps records from being brought in, each error writing its own sentence."""

from __future__ import annotations

from collections.abc import Sequence

from checkpoints.errors import CheckpointBehind
from schemas.errors import SluiceError, WrongUsage


class NoFiles(WrongUsage):
    """A pattern that no file is like."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        super().__init__(
            f"--path {pattern}: there is no such file. Name a file, a folder, or a pattern as 'old/*.jsonl'."
        )


class UnknownFile(WrongUsage):
    """A file of a form that is not read."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"{path} is neither JSON lines (.jsonl, .ndjson, .json) nor Parquet, and compressed files are not read. "
            "Leave it out of --path, or bring it into one of these forms."
        )


class UnknownFolder(WrongUsage):
    """A folder whose files do not tell what is in it."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"--path {path} is a Delta table: its folder also has files whose rows the table has no more. "
            "Write the rows that you mean into a folder of their own."
        )


class FilesChanged(SluiceError):
    """Files that are not what they were when the backfill began."""

    def __init__(self, pattern: str, files: Sequence[str]) -> None:
        self.pattern, self.files = pattern, tuple(files)
        which = ", ".join(files) or "there are more of them"
        super().__init__(
            f"The files of {pattern} have changed since the backfill began ({which}): where it had come to can not be "
            "found again. Bring them back as they were, or begin another backfill with --again."
        )


class NoBackfill(WrongUsage):
    """Options of a backfill that do not go together."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class BackfillUndone(SluiceError):
    """A table no longer has what a backfill had brought."""

    def __init__(self, table: str, batches: int) -> None:
        self.table, self.batches = table, batches
        super().__init__(
            f"{table} was rewound or restored since, and no longer has all {batches} batches that this backfill had "
            "brought. Give the same command `--again NAME`: all of it is read once more, and what is there still is "
            "not changed by it below bronze."
        )


class BackfillLost(SluiceError):
    """A table has batches of a backfill that its checkpoint would make otherwise."""

    def __init__(self, behind: CheckpointBehind) -> None:
        self.table, self.checkpoint = behind.table, behind.checkpoint
        super().__init__(
            f"{self.table} holds {behind.held + 1} batches of this backfill, but {self.checkpoint} {behind.planned}: "
            "it was lost or changed. Give the same command `--again NAME`: all of it is read once more, and what is "
            "there is not changed by it below bronze."
        )


class NotYetPassed(SluiceError):
    """A batch of a backfill was planned over what the query has to read since a reset."""

    def __init__(self, table: str, place: str) -> None:
        self.table, self.place = table, place
        super().__init__(
            f"The query of {table} was reset, and has still to read up to {place}, which this backfill was to bring. "
            "Wait until the query has passed it, and give the same command again."
        )


class DriverMissing(SluiceError):
    """The JDBC driver of a database is not among the jars."""

    def __init__(self, dialect: str, driver: str, jar: str) -> None:
        self.dialect, self.driver, self.jar = dialect, driver, jar
        super().__init__(
            f"The JDBC driver of {dialect}, {driver}, is not among the jars. Put {jar}-<version>.jar into the folder "
            "that the setting `jars_dir` names; its licence does not let it come with Sluice."
        )


class RangeGone(SluiceError):
    """A topic has lost by its retention what a backfill was to read next."""

    def __init__(self, ranges: Sequence[str]) -> None:
        self.ranges = tuple(ranges)
        super().__init__(
            f"The topic's retention has passed what this backfill was to bring next: {', '.join(ranges)}. Give the "
            "same command `--again NAME`: it begins with what is there, and passes over what is in bronze."
        )


class UnfitColumn(SluiceError):
    """A column that a spec names, and that a database has not, or of another kind."""

    def __init__(self, source: str, relation: str, word: str, column: str, kind: str | None, wanted: str) -> None:
        self.source, self.relation, self.word, self.column, self.kind = source, relation, word, column, kind
        found = "it has no such column" if kind is None else f"it is of type {kind}, and must be {wanted}"
        super().__init__(
            f"`{word}: {column}` of {relation} at `{source}`: {found}. Name another column in the spec, or write a "
            "`query` that makes it."
        )


class SourceUnreachable(SluiceError):
    """A database that does not answer, or refuses what it is asked."""

    def __init__(self, source: str, why: str) -> None:
        self.source, self.why = source, why
        super().__init__(f"`{source}` can not be read: {why}. See `sources.{source}` in the settings.")
