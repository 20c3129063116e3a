"""The version that is running."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("sluice")
except PackageNotFoundError:
    VERSION = "unknown"
