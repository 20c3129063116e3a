"""
The driver's JVM as a part of the service's log.

Log4j writes JSON lines (streams/log4j2.properties). The JVM itself, the Python workers below it and
native code write plain text beside it, to the same descriptors. So the JVM's output goes through a pipe:
what is JSON keeps its time, level and logger, every other line becomes an event, and all of it leaves
redacted, in one form.
"""

import json
import os
import re
import threading
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from py4j.java_gateway import JavaGateway
from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.logger import PySparkLogger

from streams import logs
from streams.redaction import is_secret_name

LOG4J: Final = Path(__file__).with_name("log4j2.properties")

_OPTIONS: Final = "spark.driver.extraJavaOptions"
_USUAL: Final = re.compile(r"Picked up \w+:|WARNING: Using incubator modules")
_LONGEST_LINE: Final = 65_536


def launch(conf: SparkConf) -> JavaGateway:
    """
    Start the driver's JVM with its log in ours: `SparkContext(conf=conf, gateway=launch(conf))`.

    `conf` gains the JVM options for it and loses Spark's progress bar, which writes over the log (pyspark
    counts as a shell, so it would be on). Settings with a secret's name stay off the JVM's command line,
    where every user of the machine could read them; SparkContext hands them over later. A running JVM is
    used as it is.
    """
    running: JavaGateway | None = SparkContext._gateway
    if running is not None:
        return running
    conf.set(_OPTIONS, f"{conf.get(_OPTIONS, '')} -Dlog4j2.configurationFile={LOG4J.as_uri()}".strip())
    conf.set("spark.ui.showConsoleProgress", "false")
    public = SparkConf(loadDefaults=False)
    public.setAll([(key, value) for key, value in conf.getAll() if not is_secret_name(key)])
    if conf.get("spark.master", "").startswith("local"):
        # Else Spark looks its host name up: noise where that is a loopback address, fatal where it has none.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    _silence_pyspark()
    ours, theirs = os.pipe()
    output = os.fdopen(ours, encoding="utf-8", errors="replace")
    threading.Thread(target=pump, args=(output,), name="jvm-log", daemon=True).start()
    try:
        return launch_gateway(public, {"stdout": theirs, "stderr": theirs})  # type: ignore[no-untyped-call]
    finally:
        os.close(theirs)


def pump(output: IO[str]) -> None:
    """Log what the JVM writes, line by line, until it ends."""
    with output:
        while text := output.readline(_LONGEST_LINE):
            if text.strip():
                _log(text.rstrip())


def _log(text: str) -> None:
    try:
        line: dict[str, str] = json.loads(text)
        seconds = datetime.fromisoformat(line["time"]).timestamp()
        event, _, rest = line["event"].strip().partition("\n")
        message = (line.get("message") or "").partition("\n")[0]
        error = f"{line['error']}: {message}" if line.get("error") else ""
        fields = {"error": error, "stack": line.get("stack") or rest}
        logger, level = line["logger"], line["level"]
    except (ValueError, KeyError, TypeError, AttributeError):
        logger, level, event = "jvm", "INFO" if _USUAL.match(text) else "WARNING", text
        seconds, fields = None, {}
    logs.relay(logger, level, event, seconds, {key: value for key, value in fields.items() if value})


def _silence_pyspark() -> None:
    # These write past every handler when a query fails, with the data it failed on; the error is ours to log.
    for name in ("DataFrameQueryContextLogger", "SQLQueryContextLogger"):
        PySparkLogger.getLogger(name).disabled = True
