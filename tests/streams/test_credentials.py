"""Brokers that ask who is there: with the right credentials all arrives, with wrong ones a sentence says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from confluent_kafka import Producer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.embedded.kafka import KafkaBroker
from deploy.embedded.ports import LOOPBACK
from tests.support import people
from tests.support.bronze import change, value_of
from tests.support.service import ServiceProcess, free_port
from tests.support.tables import rows_of

pytestmark = pytest.mark.stack

PASSWORD = "the-password-of-ada"
WRONG = "not-what-ada-says"


class GuardedBroker(KafkaBroker):
    """A broker that also listens where it asks for a password, and where its certificate has expired."""

    port_count: ClassVar[int] = 4

    @property
    def guarded(self) -> str:
        return f"{LOOPBACK}:{self._port(2)}"

    @property
    def expired(self) -> str:
        return f"{LOOPBACK}:{self._port(3)}"

    def _settings(self, data: Path) -> dict[str, str | int]:
        plain = super()._settings(data)
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return plain | {
            "listeners": f"{plain['listeners']},GUARDED://{self.guarded},EXPIRED://{self.expired}",
            "advertised.listeners": f"{plain['advertised.listeners']},GUARDED://{self.guarded},EXPIRED://{self.expired}",
            "listener.security.protocol.map": (
                f"{plain['listener.security.protocol.map']},GUARDED:SASL_PLAINTEXT,EXPIRED:SSL"
            ),
            "listener.name.guarded.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.guarded.plain.sasl.jaas.config": f'{module} required user_ada="{PASSWORD}";',
            "listener.name.expired.ssl.keystore.type": "PEM",
            "listener.name.expired.ssl.keystore.location": str(_expired(self.folder)),
        }


def _expired(folder: Path) -> Path:
    """A key with a certificate that ended yesterday, in one PEM file; the certificate alone beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOOPBACK)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now - timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "expired.pem").write_bytes(private + public)
    (folder / "authority.pem").write_bytes(public)
    return folder / "expired.pem"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    started = GuardedBroker(tmp_path_factory.mktemp("broker"))
    started.start()
    try:
        started.create_topics({"db.people": 1, "visits": 1})
        producer = Producer({"bootstrap.servers": started.bootstrap})
        producer.produce("db.people", value=value_of(change("c", people.person(1), 1)))
        assert producer.flush(30) == 0
        yield started
    finally:
        started.stop()


@pytest.fixture
def service(broker: GuardedBroker, service_jars: Path, tmp_path: Path) -> ServiceProcess:
    settings = {
        "lake": str(tmp_path / "lake"),
        "pipeline": str(people.write(tmp_path / "pipeline")),
        "jars_dir": str(service_jars),
        "metrics_port": str(free_port()),
        "max_restarts": "1",
        "restart_backoff_seconds": "0.2",
        "spark.driver_memory": "1g",
        "kafka.bootstrap_servers": broker.guarded,
        "kafka.security_protocol": "SASL_PLAINTEXT",
        "kafka.sasl_mechanism": "PLAIN",
        "kafka.sasl_username": "ada",
        "kafka.sasl_password": PASSWORD,
    }
    return ServiceProcess(settings, tmp_path / "service.log")


def test_with_the_right_password_records_arrive(service: ServiceProcess, tmp_path: Path) -> None:
    assert service.run_to_end("--once") == 0, service.log.read_text()[-2000:]
    assert rows_of(str(tmp_path / "lake/silver/people"), "id") == [(1,)]
    assert PASSWORD not in service.log.read_text()


def test_a_wrong_password_is_told_without_it(service: ServiceProcess) -> None:
    service.settings = {**service.settings, "kafka.sasl_password": WRONG}
    status = service.command("status")
    assert "Authentication failed" in " ".join(status.stderr.split())
    assert service.run_to_end("--once") == 1
    assert "Authentication failed" in service.log.read_text()
    for text in (status.stdout, status.stderr, service.log.read_text()):
        assert WRONG not in text
        assert PASSWORD not in text


def test_an_expired_certificate_is_told(service: ServiceProcess, broker: GuardedBroker) -> None:
    service.settings = {
        **service.settings,
        "kafka.bootstrap_servers": broker.expired,
        "kafka.security_protocol": "SSL",
        "kafka.ssl_ca_location": str(broker.folder / "authority.pem"),
    }
    status = service.command("status")
    assert "certificate" in status.stderr
    assert "do not answer" in status.stderr
    assert "Traceback" not in status.stderr
