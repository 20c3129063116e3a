"""Records what a real Debezium writes of a MariaDB: `python -m tests.support.record_mariadb FOLDER`.

Needs a MariaDB server (`mariadb-server`), the right to run it as its own user, and in FOLDER the jars of Kafka
Connect's standalone worker with Debezium's MariaDB connector. It plays the script below and writes
`debezium_mariadb.json`: Connect's schema of the table's values, the values in the order of their offsets, and what came
on the topics of transactions, schema changes and heartbeats. The tests need none of this, only the file.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer

from deploy.embedded.java import java_command, write_properties
from deploy.embedded.kafka import KafkaBroker
from deploy.embedded.ports import LOOPBACK, free_ports

FILE: Final = Path(__file__).with_name("debezium_mariadb.json")
TOPIC, SCHEMA_CHANGES, TRANSACTIONS = "shop.shop.customers", "shop", "shop.transaction"
HEARTBEATS, HISTORY = "__debezium-heartbeat.shop", "history.shop"
SERVER: Final = ("--server-id=7", "--gtid-domain-id=3", "--log-bin=mariadb-bin", "--binlog-format=ROW")
DDL: Final = """
CREATE USER debezium@'127.0.0.1' IDENTIFIED BY 'debezium';
GRANT ALL ON *.* TO debezium@'127.0.0.1';
CREATE DATABASE shop;
USE shop;
CREATE TABLE signals (id VARCHAR(42) PRIMARY KEY, type VARCHAR(32), data VARCHAR(2048));
CREATE TABLE customers (
  id INT PRIMARY KEY, name VARCHAR(50) NOT NULL, email VARCHAR(80), balance DECIMAL(8, 2), born DATE, seen_at DATETIME,
  changed_at TIMESTAMP NULL, closed_on YEAR, mood ENUM('calm', 'busy'), days SET('mon', 'tue'), opens TIME(6),
  stamp6 DATETIME(6), doc JSON, photo BLOB, bits BIT(4), big BIGINT UNSIGNED, ratio DOUBLE, yes BOOLEAN
);
INSERT INTO customers VALUES (1, 'Ann', NULL, 123.45, '1996-01-01', '2026-11-23 05:12:57', '2026-11-23 05:12:57', 2026,
  'busy', 'mon,tue', '-00:50:20.399', '2026-11-23 05:12:57.123456', '{"a": 1}', x'00ff', b'1010', 18446744073709551615,
  0.1, 1);
INSERT INTO customers (id, name) VALUES (2, 'Bob');
"""
SCRIPT: Final = (
    (4, "INSERT INTO customers (id, name, balance) VALUES (3, 'Cy', 1.5), (4, 'Di', -2.25)"),
    (5, "UPDATE customers SET name = 'Anna' WHERE id = 1"),
    (7, "DELETE FROM customers WHERE id = 2"),
    (7, "FLUSH BINARY LOGS"),
    (8, "UPDATE customers SET name = 'Cyd' WHERE id = 3"),
    (11, "UPDATE customers SET id = 6 WHERE id = 4"),
    (
        14,
        "INSERT INTO signals VALUES ('one', 'execute-snapshot', "
        '\'{"data-collections": ["shop.customers"], "type": "incremental"}\')',
    ),
    (15, "TRUNCATE TABLE customers"),
    (16, "INSERT INTO customers (id, name) VALUES (5, 'Eve')"),
)
"""Statements, each with the number of records that are on the topic afterwards."""


class MariaDB:
    """A server in a folder of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.socket, self.port = folder / "mariadb.sock", port
        shutil.chown(folder, "mysql")
        data = f"--datadir={folder / 'data'}"
        install = [
            "mariadb-install-db",
            "--no-defaults",
            "--user=mysql",
            data,
            "--auth-root-authentication-method=normal",
        ]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        given = ["--no-defaults", "--user=mysql", data, f"--socket={self.socket}", f"--port={port}", *SERVER]
        self.process = subprocess.Popen(["mariadbd", *given, "--bind-address=127.0.0.1", "--default-time-zone=+00:00"])

    def stop(self) -> None:
        """End it in order."""
        self.process.terminate()
        self.process.wait(30)

    def sql(self, statements: str) -> None:
        """Run statements, once the server answers."""
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-e", statements]
        for _ in range(60):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if not done.returncode:
                return
            if "connect" not in done.stderr:
                break
            time.sleep(0.5)
        raise SystemExit(done.stderr)


class Topics:
    """What has come on the topics so far."""

    def __init__(self, bootstrap: str) -> None:
        self.found: dict[str, list[Any]] = {}
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "r", "auto.offset.reset": "earliest"})
        self._consumer.subscribe([TOPIC, SCHEMA_CHANGES, TRANSACTIONS, HEARTBEATS])

    def until(self, topic: str, count: int) -> list[Any]:
        """The payloads of a topic, once it has so many."""
        deadline = time.monotonic() + 90
        while len(self.found.get(topic, [])) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} has {len(self.found.get(topic, []))} of {count} records")
            message = self._consumer.poll(0.2)
            # A message without a value, a tombstone, is as long as nothing: it is not true.
            if message is not None and message.error() is None:
                value = message.value()
                self.found.setdefault(message.topic() or "", []).append(None if value is None else json.loads(value))
        return [None if value is None else value["payload"] for value in self.found[topic]]


def main() -> None:
    """Play the script and write the file."""
    jars = Path(sys.argv[1])
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="sluice-mariadb-")))
        folder.chmod(0o755)
        server = MariaDB(folder, free_ports(1)[0])
        cleanup.callback(server.stop)
        server.sql(DDL)
        kafka = KafkaBroker(folder / "kafka", logs=folder / "logs")
        kafka.start()
        cleanup.callback(kafka.stop)
        names = (TOPIC, SCHEMA_CHANGES, TRANSACTIONS, HEARTBEATS, HISTORY, "shop.shop.signals")
        kafka.create_topics(dict.fromkeys(names, 1))
        cleanup.enter_context(_connected(jars, folder, kafka.bootstrap, server.port))
        topics = Topics(kafka.bootstrap)
        topics.until(TOPIC, 2)
        for count, statement in SCRIPT:
            server.sql(f"USE shop; {statement}")
            topics.until(TOPIC, count)
        found = {
            "what": ["Recorded by tests/support/record_mariadb.py, of MariaDB 10.11 by Debezium 3.5.0.Final."],
            "schema": topics.found[TOPIC][0]["schema"],
            "payloads": topics.until(TOPIC, SCRIPT[-1][0]),
            "transactions": topics.until(TRANSACTIONS, 2)[:2],
            "schema_changes": topics.until(SCHEMA_CHANGES, 3)[:3],
            "heartbeats": topics.until(HEARTBEATS, 1)[:1],
        }
    lines = [f" {json.dumps(key)}: {_lines(value)}" for key, value in found.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


@contextmanager
def _connected(jars: Path, folder: Path, bootstrap: str, port: int) -> Iterator[None]:
    worker, connector = folder / "worker.properties", folder / "connector.properties"
    converter = "org.apache.kafka.connect.json.JsonConverter"
    write_properties(
        worker,
        {
            "bootstrap.servers": bootstrap,
            "listeners": f"http://{LOOPBACK}:{free_ports(1)[0]}",
            "plugin.discovery": "service_load",
            "key.converter": converter,
            "key.converter.schemas.enable": "false",
            "value.converter": converter,
            "value.converter.schemas.enable": "true",
            "offset.storage.file.filename": str(folder / "offsets"),
        },
    )
    write_properties(
        connector,
        {
            "name": "shop",
            "connector.class": "io.debezium.connector.mariadb.MariaDbConnector",
            "tasks.max": 1,
            "database.hostname": LOOPBACK,
            "database.port": port,
            "database.user": "debezium",
            "database.password": "debezium",
            "database.server.id": 9,
            "database.ssl.mode": "disable",
            "topic.prefix": "shop",
            "database.include.list": "shop",
            "table.include.list": "shop.customers,shop.signals",
            "schema.history.internal.kafka.bootstrap.servers": bootstrap,
            "schema.history.internal.kafka.topic": HISTORY,
            "snapshot.mode": "initial",
            "skipped.operations": "none",
            "heartbeat.interval.ms": 1000,
            "provide.transaction.metadata": "true",
            "signal.data.collection": "shop.signals",
            "poll.interval.ms": 50,
        },
    )
    main_class = "org.apache.kafka.connect.cli.ConnectStandalone"
    with (folder / "connect.log").open("wb") as log:
        command = java_command(main_class, jars, str(worker), str(connector), heap_mb=384)
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def _lines(value: Any) -> str:
    if not isinstance(value, list):
        return json.dumps(value)
    return "[\n" + ",\n".join(f"  {json.dumps(one)}" for one in value) + "\n ]"


if __name__ == "__main__":
    main()
