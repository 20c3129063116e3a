"""The JVM's lines in the service's log: Log4j's, plain ones, and all those of a real driver."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams import jvm_logs, logs

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers, root.level
    logs.configure("INFO", "json")
    yield
    root.handlers = before[0]
    root.setLevel(before[1])
    logging.captureWarnings(False)


def event(**fields: object) -> str:
    line = {"time": "2026-01-02T03:04:05.678Z", "level": "WARNING", "event": "lost task", "logger": "a.B"}
    return json.dumps({**line, **fields}) + "\n"


def logged(capsys: pytest.CaptureFixture[str], text: str) -> list[dict[str, object]]:
    jvm_logs.pump(io.StringIO(text))
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_log4js_line_keeps_its_time_level_and_logger(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = logged(capsys, event(level="ERROR", error="java.io.IOException", message="disk full", stack="at x"))
    assert line == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "ERROR",
        "event": "lost task",
        "error": "java.io.IOException: disk full",
        "stack": "at x",
        "logger": "a.B",
    }


def test_an_event_is_one_line_and_has_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = logged(capsys, event(event="failed, password=s3cr3t\nTraceback\n  File x"))
    assert line["event"] == "failed, password=**********"
    assert line["stack"] == "Traceback\n  File x"


@pytest.mark.parametrize("text", ["# A fatal error", '{"not": "ours"}', "{broken", "[1]", "5"])
def test_any_other_line_is_an_event_of_the_jvm(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = logged(capsys, text + "\n\n")
    assert (line["event"], line["logger"], line["level"]) == (text, "jvm", "WARNING")


def test_what_every_start_prints_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    usual = "Picked up JAVA_TOOL_OPTIONS: -Dx=y\nWARNING: Using incubator modules: jdk.incubator.vector\n"
    assert logged(capsys, usual) == []


def test_people_get_the_jvms_lines_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "console")
    jvm_logs.pump(io.StringIO(event()))
    assert capsys.readouterr().err.strip() == "03:04:05 WARNING  lost task"


SCRIPT = """
import sys
from pathlib import Path
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession
from streams import jvm_logs, logs

logs.configure("INFO", "json")
conf = SparkConf().setMaster("local[1]").setAppName("logs").set("spark.driver.extraJavaOptions", "-Dmine=1")
conf.set("spark.ui.enabled", "false").set("spark.hadoop.fs.s3a.secret.key", "s3cr3t")
context = SparkContext(conf=conf, gateway=jvm_logs.launch(conf))
session = SparkSession.builder.getOrCreate()
java = context._jvm
command = Path(f"/proc/{context._gateway.proc.pid}/cmdline")
logs.get("test").info(
    "started",
    on_command_line=command.exists() and "s3cr3t" in command.read_text(),
    handed_over=context._jsc.hadoopConfiguration().get("fs.s3a.secret.key") == "s3cr3t",
    mine=java.java.lang.System.getProperty("mine"),
    same=jvm_logs.launch(conf) is context._gateway,
)
java.java.lang.System.out.println("plain on stdout")
logger = java.org.apache.logging.log4j.LogManager.getLogger
logger("a.B").error("from log4j", java.java.io.IOException("full"))
for noisy in ("org.apache.kafka.clients.NetworkClient", "org.apache.hadoop.util.NativeCodeLoader"):
    logger(noisy).warn("noise")
try:
    session.sql("SELECT CAST('canary' AS INT)").collect()
except Exception:
    logs.get("test").exception("query failed")
session.stop()
"""


def test_a_real_driver_logs_json_lines_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dpicked=up")
    ended = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    by_event = {line["event"]: line for line in lines}
    started = by_event["started"]
    assert {key: started[key] for key in ("on_command_line", "handed_over", "mine", "same")} == {
        "on_command_line": False,
        "handed_over": True,
        "mine": "1",
        "same": True,
    }
    assert by_event["plain on stdout"]["logger"] == "jvm"
    assert by_event["from log4j"]["error"] == "java.io.IOException: full"
    assert str(by_event["from log4j"]["stack"]).startswith("java.io.IOException: full")
    assert str(by_event["query failed"]["error"]).startswith("NumberFormatException: [CAST_INVALID_INPUT]")
    assert "canary" not in ended.stderr
    assert set(by_event) == {"started", "plain on stdout", "from log4j", "query failed"}


def test_log4js_file_is_packaged() -> None:
    assert "log4j2.properties" in (ROOT / "pyproject.toml").read_text()
