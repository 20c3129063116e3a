"""What people did to a lake that changes the past or the way on: who, when, by which command, from what to what.

One file an act, `<root>/_ops/journal/<time>-<id>.json`: written when it begins, with its plan, and again when it has
come to its end. One that began and never ended was cut short; those that can not be left so go on at the next start.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, Literal

from pyarrow import fs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from checkpoints.lake import Lake
from checkpoints.requests import Asked, Author


class Act(BaseModel):
    """One act: `before` and `after` are what it moves, by table or query, and `plan` what was shown and agreed to.

    One that a running service was asked for has the request's id: asked again after a crash, it is known.
    """

    model_config = ConfigDict(frozen=True)

    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    author: Author
    action: Asked = Field(discriminator="action")
    state: Literal["begun", "done", "failed"] = "begun"
    plan: tuple[str, ...] = ()
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    steps: dict[str, Any] = {}
    ended_at: datetime | None = None
    error: str = ""


class Journal:
    """The acts on one lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self._folder = lake, f"{lake.root}/_ops/journal"

    def write(self, act: Act) -> Act:
        """Keep an act as it stands now."""
        file = f"{self._folder}/{act.at:%Y%m%dT%H%M%S}-{act.id}.json"
        self._lake.write(file, act.model_dump_json().encode())
        return act

    def done(self, act: Act, **found: Any) -> Act:
        """Say that an act has come to its end."""
        return self.write(act.model_copy(update={"state": "done", "ended_at": datetime.now(UTC), **found}))

    def failed(self, act: Act, error: str) -> Act:
        """Say why an act could not be carried out; it has changed nothing."""
        return self.write(act.model_copy(update={"state": "failed", "ended_at": datetime.now(UTC), "error": error}))

    def acts(self) -> list[Act]:
        """All that can be read, the oldest first."""
        filesystem, folder = self._lake.filesystem(self._folder)
        found = []
        for info in sorted(
            filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True)), key=lambda info: info.path
        ):
            text = self._lake.read(f"{self._folder}/{info.base_name}") if info.extension == "json" else None
            if text is None:
                continue
            try:
                found.append(Act.model_validate_json(text))
            except ValidationError:
                continue
        return found

    def done_before(self, act: Act) -> Act | None:
        """The act as it was written down when it came to its end; None where it has not, or was never begun."""
        return next((one for one in self.acts() if one.id == act.id and one.state == "done"), None)

    def begun(self) -> list[Act]:
        """Those that were cut short."""
        return [act for act in self.acts() if act.state == "begun"]
