"""Spark's daemon of Python workers, with PySpark imported from where it is installed instead of from an archive.

Spark puts `pyspark.zip`, Py4J's archive and `spark-core.jar` in front of a worker's path, and a worker begins each of
its tasks with `importlib.invalidate_caches()`, which reads the directory of every archive anew, once for each package
that was imported from one: 0.13 s of CPU a task, more than 4,000 records take to be judged.
"""

from __future__ import annotations

import sys
from pathlib import PurePath


def without_archives(path: list[str]) -> list[str]:
    """A worker's path without what Spark put there of itself; what a user added stays."""
    ours = ("pyspark.zip", "py4j-*-src.zip", "spark-core_*.jar")
    return [entry for entry in path if not any(PurePath(entry).match(pattern) for pattern in ours)]


if __name__ == "__main__":
    sys.path[:] = without_archives(sys.path)
    sys.path_importer_cache.clear()

    from pyspark.daemon import manager

    manager()  # type: ignore[no-untyped-call]
