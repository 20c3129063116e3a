"""What Sluice runs on: its jars, and the embedded Kafka, PostgreSQL and Debezium of demo and tests."""

from __future__ import annotations

import os
from pathlib import Path


class DeployError(Exception):
    """Base of this folder's errors that are meant for a person: `str()` says what, where and what to do."""


def build_folder() -> Path:
    """The folder for what is fetched and unpacked once: `SLUICE_BUILD_DIR`, else `build` in the checkout."""
    chosen = os.environ.get("SLUICE_BUILD_DIR")
    return Path(chosen).expanduser().resolve() if chosen else Path(__file__).resolve().parents[1] / "build"
