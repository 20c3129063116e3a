"""The one place where the Spark session is built."""

from __future__ import annotations

import os
import sys

from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from schemas.errors import SluiceError
from schemas.settings import Settings
from streams import jvm_logs

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
    # On few cores, the threads that G1 runs beside the program are paid for by it.
    "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
}


class JarsMissing(SluiceError):
    """The folder of jars is not there or has no Delta in it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        super().__init__(
            f"No Delta jars in {folder}. Run `make jars`, or name the folder that has them with the setting `jars_dir`."
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
    jars = sorted(str(jar) for jar in settings.jars_dir.expanduser().resolve().glob("*.jar"))
    if not any("delta-spark" in jar for jar in jars):
        raise JarsMissing(str(settings.jars_dir))
    # Arrow functions run in a Python of their own: it must be this one, with the same packages.
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    conf = SparkConf().setMaster(settings.spark.master).setAppName(app_name)
    conf.setAll(
        [
            *_DEFAULTS.items(),
            ("spark.jars", ",".join(jars)),
            ("spark.driver.memory", settings.spark.driver_memory),
            ("spark.sql.shuffle.partitions", str(settings.spark.shuffle_partitions)),
            *settings.spark.conf.items(),
        ]
    )
    context = SparkContext.getOrCreate(conf) if SparkContext._active_spark_context else _new_context(conf)
    return SparkSession(context)


def _new_context(conf: SparkConf) -> SparkContext:
    try:
        return SparkContext(conf=conf, gateway=jvm_logs.launch(conf))
    except (PySparkRuntimeError, OSError) as error:
        raise JvmNotStarted(str(error)) from error
