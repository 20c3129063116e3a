"""The log's lines: keys and their order, context across threads and tasks, errors, secrets, both forms."""

import contextvars
import json
import logging
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from streams import logs

ROOT = Path(__file__).parents[2]
log = logs.get("streams.bronze")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("sluice")
    before = root.handlers, root.level, ours.level, sys.excepthook, threading.excepthook
    yield
    root.handlers, (sys.excepthook, threading.excepthook) = before[0], before[3:]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(False)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fail(error: Exception) -> None:
    raise error


def test_a_line_has_its_keys_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    run = uuid.uuid4()
    with logs.context(query="orders", run_id=run):
        log.info("batch committed", rows=3, batch_id=7, table="bronze.orders")
    (line,) = lines(capsys)
    assert list(line) == ["time", "level", "event", "query", "table", "run_id", "batch_id", "rows", "logger"]
    assert line["run_id"] == str(run)
    assert (line["level"], line["event"], line["batch_id"]) == ("INFO", "batch committed", 7)
    assert line["logger"] == "streams.bronze"
    written = datetime.fromisoformat(str(line["time"]))
    assert written.utcoffset() is not None
    assert str(line["time"]).endswith("Z")
    assert len(str(line["time"])) == len("2026-01-01T00:00:00.000Z")


def test_context_nests_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    with logs.context(query="orders", table="bronze.orders"):
        with logs.context(table="silver.orders"):
            log.info("inner")
        log.info("outer")
    log.info("none")
    inner, outer, none = lines(capsys)
    assert (inner["query"], inner["table"]) == ("orders", "silver.orders")
    assert (outer["query"], outer["table"]) == ("orders", "bronze.orders")
    assert "query" not in none


def test_context_belongs_to_its_thread_unless_handed_on(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    with logs.context(query="orders"):
        handed = contextvars.copy_context()
        for thread in (
            threading.Thread(target=log.info, args=("alone",)),
            threading.Thread(target=handed.run, args=(log.info, "handed on")),
        ):
            thread.start()
            thread.join()
    alone, with_context = lines(capsys)
    assert "query" not in alone
    assert with_context["query"] == "orders"


def test_level_is_ours_and_others_start_at_warning(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("DEBUG", "json")
    log.debug("ours")
    logging.getLogger("py4j.clientserver").info("theirs, in detail")
    with logs.context(query="orders"):
        logging.getLogger("py4j.clientserver").warning("theirs: %s", "of note")
    ours, theirs = lines(capsys)
    assert ours["event"] == "ours"
    assert (theirs["event"], theirs["logger"]) == ("theirs: of note", "py4j.clientserver")
    assert theirs["query"] == "orders"
    logs.configure("WARNING", "json")
    log.info("quiet")
    assert lines(capsys) == []


def test_errors_are_type_and_message_with_the_traceback_apart(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    try:
        fail(ValueError("no such topic\n== Physical Plan ==\n..."))
    except ValueError as error:
        log.exception("query failed", query="orders")
        log.warning("will retry", error=error)
    failed, retry = lines(capsys)
    assert failed["error"] == retry["error"] == "ValueError: no such topic"
    assert str(failed["stack"]).startswith("Traceback")
    assert "stack" not in retry


def test_an_error_whose_text_can_not_be_had_is_still_logged(capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(Exception):
        def __str__(self) -> str:
            raise ConnectionError

    logs.configure("INFO", "json")
    try:
        fail(Gone())
    except Gone:
        log.exception("query failed")
    (line,) = lines(capsys)
    assert line["error"] == "Gone: (can not be read: ConnectionError)"


def test_py4j_errors_say_what_java_said(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    text = "An error occurred while calling o1.save.\n: java.io.IOException: disk full\n\tat a.b.C"
    log.error("write failed", error=RuntimeError(text))
    (line,) = lines(capsys)
    assert line["error"] == "RuntimeError: java.io.IOException: disk full"


JAAS = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="s3cr3t" ;'


@pytest.mark.parametrize(
    "text",
    [
        "password=s3cr3t",
        'connect with {"database.password": "s3cr3t", "user": "u"}',
        "database.password: 's3cr3t'",
        'password = "s3c\\"s3cr3t"',
        f"sasl.jaas.config={JAAS}",
        json.dumps({"kafka.sasl.jaas.config": JAAS}),
        repr({"kafka.sasl.jaas.config": JAAS}),
        "jdbc:postgresql://u:s3cr3t@db:5432/shop",
        "fs.s3a.secret.key=s3cr3t, other=1",
        "https://registry?api_key=s3cr3t&x=1",
        "Authorization token: Bearer s3cr3t",
    ],
)
def test_secrets_are_masked_in_text(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    log.info(text, note=text, nested={"a": [text]}, error=RuntimeError(text))
    out = capsys.readouterr().err
    assert "s3cr3t" not in out
    assert "**********" in out


def test_secrets_are_masked_by_type_and_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    log.info("settings", user=SecretStr("s3cr3t"), sasl_password="s3cr3t", conf={"api.key": "s3cr3t", "keys": "id"})
    (line,) = lines(capsys)
    assert line["user"] == line["sasl_password"] == "**********"
    assert line["conf"] == {"api.key": "**********", "keys": "id"}


def test_ordinary_words_stay(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    log.info("merge by keys: customer_id, tokens=3, tokenizer: fast", primary_key="id", merge_keys=["a", "b"])
    (line,) = lines(capsys)
    assert line["event"] == "merge by keys: customer_id, tokens=3, tokenizer: fast"
    assert (line["primary_key"], line["merge_keys"]) == ("id", ["a", "b"])


def test_data_in_sparks_data_errors_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    text = "[CAST_INVALID_INPUT] The value 'O'Brien\n@x' of the type \"STRING\" cannot be cast. SQLSTATE: 22018"
    log.error("batch failed", error=ValueError(text))
    (line,) = lines(capsys)
    assert "Brien" not in str(line)
    assert str(line["error"]).startswith("ValueError: [CAST_INVALID_INPUT] The value '…' of the type")


def test_any_value_makes_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    class Rude:
        def __str__(self) -> str:
            raise RuntimeError

    logs.configure("INFO", "json")
    text = "ü\n\ud800"
    log.info("odd", nan=float("nan"), path=Path("a"), data=b"\xff", none=None, time="mine", text=text)
    log.info("rude", value=Rude())
    odd, rude = lines(capsys)
    assert (odd["nan"], odd["path"], odd["none"], odd["time_"]) == ("nan", "a", None, "mine")
    assert odd["text"] == "ü\n\ud800"
    assert rude["value"] == "(can not be read: RuntimeError)"


def test_long_text_is_cut_and_quick(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    began = time.monotonic()
    log.info("a" * 1_000_000, blob="password" * 100_000)
    assert len(capsys.readouterr().err) < 20_000
    assert time.monotonic() - began < 1


def test_people_get_a_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "console")
    with logs.context(table="silver.orders"):
        log.error("merge failed", rows=3, error=ValueError("[x] is not there"))
    out = capsys.readouterr().err.splitlines()
    assert out[0].split(" ", 1)[1] == "ERROR    merge failed  table=silver.orders  rows=3"
    assert out[1].strip() == "ValueError: [x] is not there"


def test_auto_is_json_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "auto")
    log.info("hello")
    assert [line["event"] for line in lines(capsys)] == ["hello"]


def test_warnings_and_uncaught_exceptions_are_events(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    warnings.warn("old way", DeprecationWarning, stacklevel=1)
    script = (
        "import threading\nfrom streams import logs\nlogs.configure('INFO', 'json')\n"
        "def fail(): raise ValueError('password=s3cr3t')\n"
        "t = threading.Thread(target=fail, name='w'); t.start(); t.join()\nfail()"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    thread, main = (json.loads(line) for line in ended.stderr.splitlines())
    assert (thread["event"], thread["thread"], main["level"]) == ("uncaught exception", "w", "CRITICAL")
    assert main["error"] == "ValueError: password=**********"
    assert "s3cr3t" not in ended.stderr
    assert ended.returncode == 1


def test_a_broken_stderr_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.configure("INFO", "json")
    monkeypatch.setattr(sys, "stderr", None)
    log.info("into nothing")
