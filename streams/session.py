"""The one place where the Spark session is built."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from checkpoints import s3
from schemas.errors import SluiceError
from schemas.settings import Settings
from streams import jvm_logs

# On few cores, the threads that G1 runs beside the program are paid for by it. A JVM in which any thread ran out of
# memory is in no known state: the service ends with it, and is started again.
JAVA_OPTIONS: Final = "-XX:+UseParallelGC -XX:+ExitOnOutOfMemoryError"
CLASSES: Final = "classes.jsa"
"""The file among the jars that `streams.class_archive` writes."""

_DEFAULTS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    # INT96, the default, holds nanoseconds for most readers: in those, the years before 1677 have no place.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.scheduler.mode": "FAIR",
    "spark.python.daemon.module": "streams.worker_daemon",
    "spark.ui.enabled": "false",
    # A snapshot's state is small here; 50 partitions, the default, cost more than they hold.
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.driver.extraJavaOptions": JAVA_OPTIONS,
}


class JarsMissing(SluiceError):
    """A folder of jars is not there, or has not what it is for in it."""

    def __init__(self, folder: str, jar: str, target: str) -> None:
        self.folder, self.jar = folder, jar
        super().__init__(
            f"No jar of {jar} in {folder}. Run `make {target}`, or name the folder that has it with the setting "
            f"`{target.replace('-', '_')}_dir`."
        )


class JvmNotStarted(SluiceError):
    """The driver's JVM ended while it was started."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(
            f"Spark's JVM did not start: {why} The lines logged before say why; "
            "Java 17 or later must be on the PATH or in JAVA_HOME, with `spark.driver_memory` to spare."
        )


def build(settings: Settings, app_name: str = "sluice") -> SparkSession:
    """The session of the service, with the pinned jars as local files; raises JarsMissing."""
    is_on_s3 = s3.is_on_s3(settings.lake)
    jars = _jars(settings.jars_dir, "delta-spark", "jars")
    jars += _jars(settings.s3_jars_dir, "hadoop-aws", "s3-jars") if is_on_s3 else []
    # Arrow functions run in a Python of their own: it must be this one, with the same packages.
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    conf = SparkConf().setMaster(settings.spark.master).setAppName(app_name)
    conf.setAll(
        [
            *_DEFAULTS.items(),
            *(_s3_settings().items() if is_on_s3 else ()),
            ("spark.jars", ",".join(jars)),
            ("spark.driver.memory", settings.spark.driver_memory),
            ("spark.sql.shuffle.partitions", str(settings.spark.shuffle_partitions)),
            *settings.spark.conf.items(),
        ]
    )
    for options in ("spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions"):
        # A driver of a database reads a time that has no zone in the JVM's own.
        conf.set(options, f"-Duser.timezone=UTC {conf.get(options, '')}".strip())
    classes = settings.jars_dir.expanduser().resolve() / CLASSES
    if classes.is_file():
        options = conf.get("spark.driver.extraJavaOptions", "")
        conf.set("spark.driver.extraJavaOptions", f'{options} -XX:SharedArchiveFile="{classes}"')
    context = SparkContext.getOrCreate(conf) if SparkContext._active_spark_context else _new_context(conf)
    return SparkSession(context)


def _jars(folder: Path, needed: str, target: str) -> list[str]:
    found = sorted(str(jar) for jar in folder.expanduser().resolve().glob("*.jar"))
    if not any(Path(jar).name.startswith(needed) for jar in found):
        raise JarsMissing(str(folder), needed, target)
    return found


def _s3_settings() -> dict[str, str]:
    """What Hadoop's client of S3 is told: the same store, region and credentials as the driver's clients find."""
    store, region = s3.endpoint(), s3.region()
    found = {
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.aws.credentials.provider": (
            "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
        ),
        # Delta's own looks whether a commit is there, and then writes it.
        "spark.delta.logStore.s3.impl": "sluice.ConditionalLogStore",
        # The other one asks for a file system of another kind, which there is none of under this scheme.
        "spark.sql.streaming.checkpointFileManagerClass": (
            "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
        ),
    }
    if store is not None:
        found |= {"spark.hadoop.fs.s3a.endpoint": store, "spark.hadoop.fs.s3a.path.style.access": "true"}
    if region is not None or store is not None:
        found["spark.hadoop.fs.s3a.endpoint.region"] = region or "us-east-1"
    return found


def _new_context(conf: SparkConf) -> SparkContext:
    try:
        return SparkContext(conf=conf, gateway=jvm_logs.launch(conf))
    except (PySparkRuntimeError, OSError) as error:
        raise JvmNotStarted(str(error)) from error
