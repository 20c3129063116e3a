"""What can be wrong with a lake's state, each error writing its own sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from schemas.errors import SluiceError

if TYPE_CHECKING:
    from checkpoints.lease import Claim


class TopicBounds(Protocol):
    """Where the partitions of a topic end."""

    def end(self, partition: int) -> int:
        """The offset that the next record gets."""


class LakeNotWritable(SluiceError):
    """The root of the lake can not be created or written."""

    def __init__(self, root: str, why: str) -> None:
        self.root, self.why = root, why
        super().__init__(
            f"The lake at {root} can not be written: {why}. "
            "Give this user write access, or name another place with the setting `lake`."
        )


class StoreFailed(SluiceError):
    """The store that the lake is on does not do what is asked of it, also after several attempts."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(
            f"S3 does not do what is asked of it: {why}. See that it can be reached, that the bucket is there and may "
            "be read and written, and what AWS_ENDPOINT_URL, AWS_REGION and the credentials say "
            "(runbooks/operations/s3.md)."
        )


class UnreadableOffsets(SluiceError):
    """A file of Spark's offset log is missing, cut short or not of a form that is known."""

    def __init__(self, file: str, why: str) -> None:
        self.file, self.why = file, why
        super().__init__(
            f"The offset log {file} can not be used: {why}. Do not delete the checkpoint: `sluice checkpoints recover` "
            "makes a new one from the ledger (runbooks/operations/recover-checkpoint.md)."
        )


class CheckpointLost(SluiceError):
    """A bronze table holds batches, but its query has no checkpoint."""

    def __init__(self, table: str, batch_id: int, checkpoint: str) -> None:
        self.table, self.batch_id, self.checkpoint = table, batch_id, checkpoint
        super().__init__(
            f"{table} holds batches up to {batch_id}, but {checkpoint} has no offsets: a new checkpoint would number "
            f"its batches from 0 and each would be skipped as already written. `sluice checkpoints recover {table}` "
            "makes a new one from the ledger (runbooks/operations/recover-checkpoint.md)."
        )


class CheckpointBehind(SluiceError):
    """A query's checkpoint is older than its bronze table: its next batch would be taken for one already written."""

    def __init__(self, table: str, held: int, checkpoint: str, planned: str) -> None:
        self.table, self.held, self.checkpoint, self.planned = table, held, checkpoint, planned
        super().__init__(
            f"{table} holds batch {held}, but {checkpoint} {planned}: it is an older copy, or was changed. What it "
            f"reads next would be skipped as already written, and lost. `sluice checkpoints recover {table}` makes a "
            "new one from the ledger (runbooks/operations/recover-checkpoint.md)."
        )


class PositionAhead(SluiceError):
    """A table has consumed more of its upstream than the upstream has."""

    def __init__(self, table: str, upstream: str, position: int, version: int) -> None:
        self.table, self.upstream, self.position, self.version = table, upstream, position, version
        super().__init__(
            f"{table} has consumed {upstream} up to version {position}, but {upstream} is at version {version}: "
            f"{upstream} was rolled back. `sluice rewind` brings tables back together "
            f"(runbooks/operations/rewind.md); or move {table} aside, and it is rebuilt from its upstream."
        )


class CheckpointDamaged(SluiceError):
    """A file of a query's checkpoint is missing or does not fit the others."""

    def __init__(self, table: str, file: str, why: str) -> None:
        self.table, self.file, self.why = table, file, why
        super().__init__(
            f"The checkpoint of {table} is damaged: {file}: {why}. `sluice checkpoints recover {table}` makes a new "
            "one from the ledger, without losing or doubling a record (runbooks/operations/recover-checkpoint.md)."
        )


class TableBehind(SluiceError):
    """A bronze table lacks batches that its query has committed: it is an older copy."""

    def __init__(self, table: str, held: int | None, checkpoint: str, committed: int) -> None:
        self.table, self.held, self.checkpoint, self.committed = table, held, checkpoint, committed
        has = "no batch" if held is None else f"batches up to {held}"
        super().__init__(
            f"{table} holds {has}, but {checkpoint} says that batch {committed} was committed: the table is an older "
            f"copy, or was made anew. `sluice checkpoints recover {table}` reads again what it lacks "
            "(runbooks/operations/recover-checkpoint.md)."
        )


class TableRolledBack(SluiceError):
    """Somebody has restored an older version of a table, which takes no position back with it."""

    def __init__(self, table: str, version: int, at: datetime) -> None:
        self.table, self.version, self.at = table, version, at
        super().__init__(
            f"{table} was rolled back by a RESTORE, in version {version} at {at:%Y-%m-%d %H:%M:%S}: its positions do "
            f"not fit its rows any more, and what was taken back would be missing for good. `sluice rewind` "
            f"takes {table} and all that hangs on it to one state (runbooks/operations/rewind.md)."
        )


class LedgerCutShort(SluiceError):
    """The oldest commits of a bronze table's log are gone, and with them what they say was read."""

    def __init__(self, table: str, first: int) -> None:
        self.table, self.first = table, first
        super().__init__(
            f"The log of {table} begins with version {first}: which offsets the table held before is not known any "
            "more, and they would come twice. Bring the log's oldest files back from a copy, and let no other tool "
            "clean it (runbooks/operations/retention.md)."
        )


class TopicRecreated(SluiceError):
    """The topic is another one than the query has read, under the same name."""

    def __init__(
        self, table: str, topic: str, before: str, now: str, beyond: tuple[int, int, TopicBounds] | None = None
    ) -> None:
        self.table, self.topic, self.before, self.now = table, topic, before, now
        what = f"it was deleted and created again (id {before} before, {now} now)"
        if before == now or before == "?":
            partition, offset, bounds = beyond or (0, 0, None)
            ends = bounds.end(partition) if bounds is not None else 0
            what = f"partition {partition} was read up to {offset} and ends at {ends}"
        super().__init__(
            f"{topic} is not the topic that {table} has read: {what}. Its offsets mean other records. "
            f"`sluice checkpoints reset {table} --to earliest --accept-topic` reads the new one from its beginning, "
            "beside what the old one gave (runbooks/operations/reset-checkpoint.md)."
        )


class OffsetsGone(SluiceError):
    """The topic no longer has what the query would read next."""

    def __init__(self, table: str, ranges: Sequence[str]) -> None:
        self.table, self.ranges = table, tuple(ranges)
        super().__init__(
            f"{table} can not go on: the topic no longer has {'; '.join(ranges)}. They are lost to Sluice unless they "
            "can be brought back into the topic, or in by `sluice backfill`. "
            f"`sluice checkpoints reset {table} --to earliest --accept-loss` goes on behind them "
            "(runbooks/operations/reset-checkpoint.md)."
        )


class UnknownStore(SluiceError):
    """The lake lies on a store of which it is not known how two writers are kept apart."""

    def __init__(self, root: str) -> None:
        self.root = root
        super().__init__(
            f"The lake can not be at {root}: of a file system and of S3 it is known how two writers are kept apart, "
            "and of no other store. Set `lake` to a path or to an s3://bucket/path."
        )


class NotExclusive(SluiceError):
    """Where the lake lies, a file can not be created on the condition that there is none."""

    def __init__(self, root: str, why: str) -> None:
        self.root, self.why = root, why
        super().__init__(
            f"Two writers could not be kept apart in the lake at {root}: {why}. It has to be on a file system with "
            "hard links, or on S3 with conditional writes (runbooks/operations/s3.md)."
        )


class UnreadableWatermark(SluiceError):
    """What is kept as the watermark of a pulled table is no time."""

    def __init__(self, place: str) -> None:
        self.place = place
        super().__init__(
            f"The watermark {place} is no time as 2026-01-31T08:30:00+00:00. Write one there, or remove it: it is "
            "found again from what has been pulled."
        )


class WatermarkStoreFailed(SluiceError):
    """AWS's Parameter Store does not keep the watermark of a pulled table, or does not give it."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(
            f"The watermark {name} can not be kept in AWS's Parameter Store: {why}. It needs ssm:GetParameter and "
            "ssm:PutParameter on it, and the AWS_REGION and credentials of this account."
        )


class LeaseHeld(SluiceError):
    """Another process writes to the lake."""

    def __init__(self, root: str, holder: Claim) -> None:
        self.root, self.holder = root, holder
        super().__init__(
            f"The lake at {root} is written by another process: {holder}. Stop that one first; "
            "runbooks/operations/start-and-stop.md says how."
        )


class LeaseLost(SluiceError):
    """This process no longer has the lease: it was still for too long, and another one took it."""

    def __init__(self, root: str, token: int, holder: Claim | None = None) -> None:
        self.root, self.token, self.holder = root, token, holder
        taken = f" It is held by {holder}." if holder else ""
        super().__init__(
            f"This process has lost the lease of {root} (number {token}) and can not commit there any more.{taken} "
            "What it had in hand is done again by the new holder. If nobody else should run there, find out why this "
            "one stood still for longer than `lease_seconds`."
        )
