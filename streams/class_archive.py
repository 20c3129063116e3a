"""
The classes of Spark as the driver's JVM has them in memory, in one file that the next JVM maps.

Spark reads and checks thousands of classes before its first batch, at each start. With an archive (the JVM's own class
data sharing) it need not: a session is there in two thirds of the time. `make classes` writes the file among the jars,
and a session uses it where it is. A JVM leaves an archive of another Java or of other jars alone. The classes of
`spark.jars` have a loader of their own, and are not in it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pyspark.sql import SparkSession

from schemas.errors import SluiceError
from schemas.settings import Settings, SparkSettings
from streams import session

_SECONDS: Final = 120.0
# One minute's work need not be compiled to the best; the classes that can not be archived are a thousand lines.
_BRIEFLY: Final = "-XX:TieredStopAtLevel=1 -Xlog:cds=error -Xlog:cds+dynamic=error"


class NoArchive(SluiceError):
    """The JVM ended without having written its classes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(
            f"Java wrote no archive of its classes to {folder}. The lines logged before say why; "
            "the service runs without one too, and starts more slowly."
        )


def write(jars: Path) -> Path:
    """The archive of what a session with these jars loads in its first minute.

    The file is there whole or not at all: a JVM that maps half of one dies of it. Errors: `NoArchive`, and those of
    `session.build`.
    """
    target = jars / session.CLASSES
    target.unlink(missing_ok=True)  # a JVM that maps one writes none
    with tempfile.TemporaryDirectory(prefix=".classes.", dir=jars) as scratch:
        made = Path(scratch, session.CLASSES)
        options = f'{session.JAVA_OPTIONS} {_BRIEFLY} -XX:ArchiveClassesAtExit="{made}"'
        settings = Settings(
            jars_dir=jars,
            spark=SparkSettings(
                driver_memory="1g",
                shuffle_partitions=2,
                conf={
                    "spark.driver.extraJavaOptions": options,
                    "spark.local.dir": scratch,
                    "spark.sql.warehouse.dir": scratch,
                },
            ),
        )
        spark = session.build(settings, "sluice-classes")
        try:
            _use(spark, scratch)
        finally:
            _end(spark)
        if not made.is_file():
            raise NoArchive(jars)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(target)
    return target


def _use(spark: SparkSession, folder: str) -> None:
    """Something of each kind of work that a service has: a stream, JSON, a Delta table, Arrow, a join, an aggregate."""
    table, text = f"{folder}/table", f"{folder}/text"
    rows = spark.range(100).selectExpr("id", "to_json(struct(id, CAST(id AS STRING) AS name)) AS value")
    rows.write.format("delta").save(table)
    rows.select("value").write.text(text)
    parsed = (
        spark.readStream.text(text)
        .selectExpr("from_json(value, 'id BIGINT, name STRING') AS one")
        .selectExpr("one.*", "current_timestamp() AS at")
    )
    query = (
        parsed.writeStream.foreachBatch(
            lambda batch, _: batch.join(spark.read.format("delta").load(table), "id").groupBy("name").count().toArrow()
        )
        .option("checkpointLocation", f"{folder}/checkpoint")
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()


def _end(spark: SparkSession) -> None:
    gateway = spark.sparkContext._gateway
    spark.stop()
    if gateway is None:
        return
    # The JVM ends of itself once nobody is at the other end of its input, and writes the archive then.
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(_SECONDS)


def main(arguments: Sequence[str]) -> int:
    """Write it into the folder of jars that is named; exit code 1 if it was not written, 2 for wrong arguments."""
    if len(arguments) != 1:
        sys.stderr.write("Usage: python -m streams.class_archive <folder of the jars>\n")
        return 2
    try:
        sys.stdout.write(f"{write(Path(arguments[0]))}\n")
    except SluiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
