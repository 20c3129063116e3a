"""Requests to a running service: files that outlive both sides, each carried out once and answered.

| path                                | what                                                                     |
|-------------------------------------|--------------------------------------------------------------------------|
| `<root>/_ops/service.json`          | which service runs, and when it was last seen: its presence              |
| `<root>/_ops/requests/<id>.json`    | a request that waits                                                     |
| `<root>/_ops/answers/<id>.json`     | what became of it                                                        |

A request that was carried out and not yet answered when the service died is carried out again: every action that can
be requested is harmless to repeat.
"""

from __future__ import annotations

import os
import socket
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from pyarrow import fs
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from checkpoints.lake import Lake

HEARTBEAT_SECONDS: Final = 5.0
_GONE_AFTER: Final = timedelta(seconds=30)


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
    """Let the batch that the circuit breaker holds back go to the lane."""

    action: Literal["admit"] = "admit"
    table: str


class Decide(_Model):
    """Let gold have what the gate holds back, or take it out of the silver table; who says so, and why."""

    action: Literal["gate"] = "gate"
    decision: Literal["release", "discard"]
    table: str
    who: str
    why: str


Asked = Redrive | Admit | Decide
"""What can be asked for."""

_ACTION: Final[TypeAdapter[Asked]] = TypeAdapter(Annotated[Asked, Field(discriminator="action")])


class Answer(_Model):
    """What became of a request: `error` is a sentence where it failed, `result` the action's own account."""

    error: str = ""
    result: dict[str, object] = {}


class Presence(_Model):
    """A service that works on this lake."""

    host: str
    pid: int
    seen: datetime

    @classmethod
    def here(cls) -> Presence:
        """This process, now."""
        return cls(host=socket.gethostname(), pid=os.getpid(), seen=datetime.now(UTC))


class Requests:
    """The requests of one lake."""

    def __init__(self, lake: Lake) -> None:
        self._filesystem, self._root = lake.filesystem(f"{lake.root}/_ops")

    def announce(self) -> None:
        """Say that this process is the service; to be repeated every HEARTBEAT_SECONDS."""
        self._write("service.json", Presence.here())

    def leave(self) -> None:
        """Say that it no longer is."""
        self._remove("service.json")

    def service(self) -> Presence | None:
        """The service that works on the lake, None where none was seen of late."""
        text = self._read("service.json")
        try:
            found = Presence.model_validate_json(text) if text else None
        except ValidationError:
            return None
        return found if found is not None and datetime.now(UTC) - found.seen < _GONE_AFTER else None

    def submit(self, action: Asked) -> str:
        """Leave a request; its id."""
        request = uuid.uuid4().hex
        self._write(f"requests/{request}.json", action)
        return request

    def withdraw(self, request: str) -> bool:
        """Take a request back that has not been taken up; whether it was there."""
        return self._remove(f"requests/{request}.json")

    def waiting(self) -> list[tuple[str, Asked]]:
        """The requests that wait, by id; a file that is none is passed over."""
        selector = fs.FileSelector(f"{self._root}/requests", allow_not_found=True)
        found = []
        for info in sorted(self._filesystem.get_file_info(selector), key=lambda info: (info.mtime_ns or 0, info.path)):
            text = self._read(f"requests/{info.base_name}") if info.extension == "json" else None
            try:
                if text:
                    found.append((info.base_name.removesuffix(".json"), _ACTION.validate_json(text)))
            except ValidationError:
                continue
        return found

    def answer(self, request: str, answer: Answer) -> None:
        """Say what became of a request; it waits no longer."""
        self._write(f"answers/{request}.json", answer)
        self._remove(f"requests/{request}.json")

    def answered(self, request: str) -> Answer | None:
        """What became of a request, None while it is not known."""
        text = self._read(f"answers/{request}.json")
        return Answer.model_validate_json(text) if text else None

    def _write(self, name: str, content: BaseModel) -> None:
        """Write a file whole: under another name first, so that nobody reads half of it."""
        path = f"{self._root}/{name}"
        self._filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        with self._filesystem.open_output_stream(f"{path}.part") as stream:
            stream.write(content.model_dump_json().encode())
        self._filesystem.move(f"{path}.part", path)

    def _read(self, name: str) -> str | None:
        try:
            with self._filesystem.open_input_stream(f"{self._root}/{name}") as stream:
                return bytes(stream.read()).decode("utf-8")
        except FileNotFoundError:
            return None

    def _remove(self, name: str) -> bool:
        try:
            self._filesystem.delete_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return False
        return True
