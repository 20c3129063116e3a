"""What can be wrong with a lake's state, each error writing its own sentence."""

from __future__ import annotations

from schemas.errors import SluiceError


class LakeNotWritable(SluiceError):
    """The root of the lake can not be created or written."""

    def __init__(self, root: str, why: str) -> None:
        self.root, self.why = root, why
        super().__init__(
            f"The lake at {root} can not be written: {why}. "
            "Give this user write access, or name another place with the setting `lake`."
        )


class UnreadableOffsets(SluiceError):
    """A file of Spark's offset log is missing, cut short or not of a form that is known."""

    def __init__(self, file: str, why: str) -> None:
        self.file, self.why = file, why
        super().__init__(
            f"The offset log {file} can not be used: {why}. Restore the checkpoint from a copy; do not delete it: "
            "a query that starts anew would read its topic from the beginning."
        )


class CheckpointLost(SluiceError):
    """A bronze table holds batches, but its query has no checkpoint."""

    def __init__(self, table: str, batch_id: int, checkpoint: str) -> None:
        self.table, self.batch_id, self.checkpoint = table, batch_id, checkpoint
        super().__init__(
            f"{table} holds batches up to {batch_id}, but {checkpoint} has no offsets: a new checkpoint would number "
            "its batches from 0 and each would be skipped as already written. Restore the checkpoint from a copy."
        )


class CheckpointBehind(SluiceError):
    """A query's checkpoint is older than its bronze table: its next batch would be taken for one already written."""

    def __init__(self, table: str, held: int, checkpoint: str, planned: str) -> None:
        self.table, self.held, self.checkpoint, self.planned = table, held, checkpoint, planned
        super().__init__(
            f"{table} holds batch {held}, but {checkpoint} {planned}: it is an older copy, or was changed. What it "
            "reads next would be skipped as already written, and lost. Restore the newest copy of the checkpoint."
        )


class PositionAhead(SluiceError):
    """A table has consumed more of its upstream than the upstream has."""

    def __init__(self, table: str, upstream: str, position: int, version: int) -> None:
        self.table, self.upstream, self.position, self.version = table, upstream, position, version
        super().__init__(
            f"{table} has consumed {upstream} up to version {position}, but {upstream} is at version {version}: "
            f"{upstream} was rolled back. Move {table} aside, and it is rebuilt from its upstream."
        )
