"""Requests to a running service: files that outlive both sides, each carried out once and answered.

| path                                | what                                               |
|-------------------------------------|----------------------------------------------------|
| `<root>/_ops/requests/<id>.json`    | a request that waits, or is being carried out      |
| `<root>/_ops/progress/<id>.json`    | how far one has come that takes long               |
| `<root>/_ops/answers/<id>.json`     | what became of it                                  |

A request that was carried out and not yet answered when the service died is carried out again: every action that can
be requested is harmless to repeat.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
import uuid
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
from pyarrow import fs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from checkpoints.lake import Lake

_SECRET: Final = re.compile(
    r"^((?:--set=|-s)?[\w.<>-]*(?:passw|secret|token|credential|jaas|auth\.|[._-]key)[\w.-]*=).+$",
    re.IGNORECASE | re.DOTALL,
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Redrive(_Model):
    """Judge rejected records again, under today's contract."""

    action: Literal["redrive"] = "redrive"
    table: str
    rule: str | None = None
    since: datetime | None = None
    dry_run: bool = False


class Admit(_Model):
    """Let the batch that the circuit breaker holds back go to the lane; with `dry_run` only say what is held back."""

    action: Literal["admit"] = "admit"
    table: str
    dry_run: bool = False


class Decide(_Model):
    """Let gold have what the gate holds back, or take it out of the silver table; who says so, and why."""

    action: Literal["gate"] = "gate"
    decision: Literal["release", "discard"]
    table: str
    who: str
    why: str


class Reset(_Model):
    """Let a query read on from elsewhere, in a new generation of its checkpoint.

    `to` is `earliest`, `latest`, a time, Spark's JSON of offsets, `batch:<number>`, or `ledger`: where the ledger ends.
    """

    action: Literal["reset"] = "reset"
    table: str
    to: str
    accept_loss: bool = False
    accept_topic: bool = False


class Replay(_Model):
    """Let tables take up again what they have consumed, from bronze or whatever stands above them.

    `since` and `until` are times, offsets as `<topic>[<partition>]@<offset>`, or `batch:<number>`, of the bronze tables
    above; None is the beginning and the end.
    """

    action: Literal["replay"] = "replay"
    tables: tuple[str, ...]
    since: str | None = None
    until: str | None = None


class Rewind(_Model):
    """Take tables, and all that hangs on them, back to one state: a time, or `act:<id>`, as it was before an act."""

    action: Literal["rewind"] = "rewind"
    tables: tuple[str, ...] = ()
    to: str
    accept_loss: bool = False


class Backfill(_Model):
    """Bring history into a bronze table; `since` and `until` are times, or for Kafka Spark's JSON of offsets.

    With `admit`, batches go in however much of them is rejected.
    """

    action: Literal["backfill"] = "backfill"
    table: str
    source: Literal["files", "jdbc", "kafka"]
    path: str | None = None
    topic: str | None = None
    since: str | None = None
    until: str | None = None
    batch_rows: int = 100_000
    rate: float | None = None
    again: str = ""
    move_watermark: bool = False
    admit: bool = False


class Vacuum(_Model):
    """Remove files that no version of the last `hours` needs."""

    action: Literal["vacuum"] = "vacuum"
    tables: tuple[str, ...] = ()
    hours: float


Change = Reset | Replay | Rewind
"""What changes the past or the way on: everything is at rest while it is carried out."""

Asked = Redrive | Admit | Decide | Reset | Replay | Rewind | Vacuum | Backfill
"""What can be asked for."""


class Author(_Model):
    """Who asks, where, and with which command line."""

    who: str
    host: str
    command: str

    @classmethod
    def here(cls, who: str | None = None) -> Author:
        """The user and the command line of this process; another name may be given, where all share one account.

        What is written down of it is kept for years: the values of secret settings are not.
        """
        command = " ".join(["sluice", *map(_without_secret, sys.argv[1:])])
        return cls(who=who or _user(), host=socket.gethostname(), command=command)


def _without_secret(argument: str) -> str:
    """An argument of a command line, with a secret setting's value masked."""
    return _SECRET.sub(r"\1***", argument)


class Request(_Model):
    """What is asked for, by whom and when."""

    action: Asked = Field(discriminator="action")
    author: Author
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class Answer(_Model):
    """What became of a request: `error` is a sentence where it failed, `result` the action's own account."""

    error: str = ""
    result: dict[str, object] = {}


class Requests:
    """The requests of one lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self._folder = lake, f"{lake.root}/_ops"
        self._filesystem, self._root = lake.filesystem(self._folder)

    def submit(self, action: Asked, author: Author) -> str:
        """Leave a request; its id."""
        request = uuid.uuid4().hex
        self._write(f"requests/{request}.json", Request(action=action, author=author).model_dump_json().encode())
        return request

    def withdraw(self, request: str) -> bool:
        """Take a request back that has not been taken up, or ask for it to be given up; whether it was there."""
        was_there = self._lake.remove(f"{self._folder}/requests/{request}.json")
        self._lake.remove(f"{self._folder}/progress/{request}.json")
        return was_there

    def waits(self, request: str) -> bool:
        """Whether a request is still there: neither answered nor withdrawn."""
        return self._lake.read(f"{self._folder}/requests/{request}.json") is not None

    def waiting(self) -> list[tuple[str, Request]]:
        """The requests that wait, by id; a file that is none is passed over."""
        selector = fs.FileSelector(f"{self._root}/requests", allow_not_found=True)
        found = []
        for info in sorted(self._filesystem.get_file_info(selector), key=lambda info: (info.mtime_ns or 0, info.path)):
            text = self._lake.read(f"{self._folder}/requests/{info.base_name}") if info.extension == "json" else None
            try:
                if text:
                    found.append((info.base_name.removesuffix(".json"), Request.model_validate_json(text)))
            except ValidationError:
                continue
        return found

    def answer(self, request: str, answer: Answer) -> None:
        """Say what became of a request; it waits no longer."""
        self._write(f"answers/{request}.json", answer.model_dump_json().encode())
        self._lake.remove(f"{self._folder}/requests/{request}.json")
        self._lake.remove(f"{self._folder}/progress/{request}.json")

    def answered(self, request: str) -> Answer | None:
        """What became of a request, None while it is not known."""
        text = self._lake.read(f"{self._folder}/answers/{request}.json")
        return Answer.model_validate_json(text) if text else None

    def tell(self, request: str, progress: dict[str, Any]) -> None:
        """Say how far a request has come."""
        self._write(f"progress/{request}.json", orjson.dumps(progress))

    def told(self, request: str) -> dict[str, Any] | None:
        """How far a request has come; None where nothing was said of it."""
        text = self._lake.read(f"{self._folder}/progress/{request}.json")
        return None if text is None else dict(orjson.loads(text))

    def _write(self, name: str, text: bytes) -> None:
        self._lake.write(f"{self._folder}/{name}", text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"
