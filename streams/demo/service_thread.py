"""The service as the demo runs it: in a thread, with its log in a file, over a JVM that ends with the demo."""

from __future__ import annotations

import contextlib
import logging
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from pydantic import SecretStr

from deploy.embedded.stack import EmbeddedStack
from schemas.errors import SluiceError
from schemas.pipeline import Pipeline
from schemas.settings import KafkaSettings, PiiSettings, RegistrySettings, Settings, SparkSettings
from streams import logs
from streams.demo.stopping import end_children
from streams.service import Service

_STOP_SECONDS = 10.0
_DRAIN_SECONDS = 5.0
_HASTY_SECONDS = 4.0
_POLL_SECONDS = 0.1


class ServiceEnded(SluiceError):
    """The service ended while the demo still needed it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The service ended before the demo did: {reason} With --keep its log is kept.")


class ServiceThread:
    """The service in a thread of its own: signals are the demo's."""

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        self._jvm_lost = threading.Event()
        self.service = Service(settings, pipeline, on_jvm_lost=self._jvm_lost.set)
        self._spared = {child.pid for child in psutil.Process().children()}
        self._code: int | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def require(self) -> None:
        """Raise what ended the service, if it has ended."""
        if self._jvm_lost.is_set():
            raise ServiceEnded("Spark's JVM ended.")
        if self._thread.is_alive():
            return
        if isinstance(self._error, SluiceError):
            raise self._error
        raise ServiceEnded(str(self._error or f"exit code {self._code}."))

    def stop(self, seconds: float = _STOP_SECONDS) -> bool:
        """Drain it, and wait so long for its end; whether it ended in order."""
        self.service.stop()
        self._thread.join(seconds)
        return self._code == 0

    def end(self, stack: EmbeddedStack) -> None:
        """End it if it still runs, and Spark's JVM, which would live on to the end of this process."""
        # Before its queries have been started there is nothing to drain.
        if self._thread.is_alive() and self.service.wait_until_started(0):
            self.stop(_HASTY_SECONDS)
        spared, deadline = self._spared.union(*stack.pids.values()), time.monotonic() + _HASTY_SECONDS
        end_children(spared)
        # Without its JVM the thread soon fails; one that was just about to start it must fail as well.
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._thread.join(_POLL_SECONDS)
            end_children(spared)

    def _run(self) -> None:
        try:
            self._code = self.service.run()
        except Exception as error:  # noqa: BLE001 - it is raised again where the demo waits for the service
            self._error = error


def demo_settings(folder: Path, jars_dir: Path, bootstrap: str, registry_url: str) -> Settings:
    """The service's settings: everything in one folder, a key of its own, short waits, and a JVM that starts fast.

    A process that lives for a minute spends most of it compiling: Java's second compiler and the code that Spark
    generates pay off later than that. Without them the first gold rows take half the processor time.
    """
    scratch = folder / "spark"
    scratch.mkdir(parents=True, exist_ok=True)
    # With one compiler Java reserves 48 MB for its code; Spark fills that in a minute, and compiling then stops.
    java = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC -XX:-UsePerfData"
    conf = {
        "spark.driver.extraJavaOptions": f'{java} -Djava.io.tmpdir="{scratch}"',
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
    }
    return Settings(
        lake=str(folder / "lake"),
        kafka=KafkaSettings(bootstrap_servers=bootstrap),
        registry=RegistrySettings(url=registry_url),
        jars_dir=jars_dir,
        metrics_port=0,
        drain_seconds=_DRAIN_SECONDS,
        restart_backoff_seconds=0.2,
        restart_backoff_max_seconds=0.5,
        pii=PiiSettings(key=SecretStr(secrets.token_hex())),
        spark=SparkSettings(driver_memory="2g", shuffle_partitions=2, conf=conf),
    )


@contextlib.contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Send the log to a file instead of standard error, where it would write over the view."""
    path.parent.mkdir(parents=True, exist_ok=True)
    uncaught = sys.excepthook
    with path.open("a", encoding="utf-8") as file, contextlib.redirect_stderr(file):
        logs.configure("INFO", "json")
        try:
            yield
        finally:
            # A thread that ends late must not write to the terminal.
            logging.getLogger().handlers = [logging.NullHandler()]
            sys.excepthook = uncaught
