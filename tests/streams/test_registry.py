"""Writers' schemas over HTTP: fetched once, through references, and what is said when they can not be had."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from deploy.embedded.registry import EmbeddedRegistry
from schemas.avro.wire import Unreadable, read_confluent, schema_id
from schemas.errors import InvalidSettings
from schemas.loader import load
from schemas.settings import RegistrySettings, Settings
from streams.errors import RegistryUnavailable
from streams.graph import Graph
from streams.redaction import redact
from streams.registry import MOST_UNKNOWN, SchemaRegistry, registry_for
from tests.schemas.folders import changed, write


def record(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": each, "type": kind} for each, kind in fields.items()]}


V1 = record("Click", url="string")
V2 = record("Click", url="string", customer_id=["null", "long"])
V3 = record("Click", url="string", at={"type": "long", "logicalType": "timestamp-millis"})


def written(number: int, schema: Any, value: Any) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return b"\x00" + number.to_bytes(4, "big") + out.getvalue()


@pytest.fixture
def server() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry() as running:
        yield running


def settings_for(server: EmbeddedRegistry, **more: Any) -> RegistrySettings:
    return RegistrySettings(url=server.url, timeout_seconds=5, **more)


def test_a_batch_of_three_writers_is_read_and_each_schema_fetched_once(server: EmbeddedRegistry) -> None:
    ids = [server.register("clicks-value", json.dumps(schema)) for schema in (V1, V2, V3)]
    batch = [
        written(ids[0], V1, {"url": "/a"}),
        written(ids[1], V2, {"url": "/b", "customer_id": 7}),
        written(ids[2], V3, {"url": "/c", "at": 1_000}),
        written(ids[0], V1, {"url": "/d"}),
    ]
    registry = SchemaRegistry(settings_for(server))
    for _ in range(3):
        schemas = registry.writer_schemas(schema_id(value) for value in batch)
    assert [read_confluent(value, schemas) for value in batch] == [
        {"url": "/a"},
        {"url": "/b", "customer_id": 7},
        {"url": "/c", "at": "1970-01-01T00:00:01.000000Z"},
        {"url": "/d"},
    ]
    assert server.requests == [f"GET /schemas/ids/{number}" for number in ids]


def test_an_unknown_id_is_asked_for_again_until_it_is_there(server: EmbeddedRegistry) -> None:
    registry = SchemaRegistry(settings_for(server))
    assert registry.writer_schemas([1]) == {1: None}
    with pytest.raises(Unreadable, match=r"avro\.schema_unknown"):
        read_confluent(b"\x00\x00\x00\x00\x01", registry.writer_schemas([1]))
    server.register("late", json.dumps(V1))
    for _ in range(2):
        assert registry.writer_schemas([1]) == {1: json.dumps(V1)}
    assert server.requests == ["GET /schemas/ids/1"] * 3


def test_bytes_that_are_no_avro_do_not_have_it_asked_without_an_end(server: EmbeddedRegistry) -> None:
    first = server.register("clicks-value", json.dumps(V1))
    registry = SchemaRegistry(settings_for(server))
    found = registry.writer_schemas(range(100_000))
    assert {number for number, text in found.items() if text is not None} == {first}
    assert (len(found), len(server.requests)) == (100_000, MOST_UNKNOWN + 1)


def test_an_id_that_no_registry_gives_out_is_not_asked_for(server: EmbeddedRegistry) -> None:
    registry = SchemaRegistry(settings_for(server))
    assert registry.writer_schemas([-1, 2**31, 2**32 - 1]) == {-1: None, 2**31: None, 2**32 - 1: None}
    assert server.requests == []


def test_a_schema_of_another_kind_is_no_avro_schema(server: EmbeddedRegistry) -> None:
    number = server.register("json-value", '{"type": "object"}', schemaType="JSON")
    assert SchemaRegistry(settings_for(server)).writer_schemas([number]) == {number: None}


def test_a_schema_with_tags_is_read(server: EmbeddedRegistry) -> None:
    number = server.register("tagged", json.dumps(V1), metadata={"tags": {"Click.url": ["PII"]}})
    assert SchemaRegistry(settings_for(server)).writer_schemas([number]) == {number: json.dumps(V1)}


def test_references_are_put_in_place_once_each(server: EmbeddedRegistry) -> None:
    money = {"type": "record", "name": "Money", "namespace": "shop", "fields": [{"name": "cents", "type": "long"}]}
    item = {**record("shop.Item", price="Money", kind={"type": "enum", "name": "Kind", "symbols": ["a", "b"]})}
    tag = record("Tag", text="string")
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [
            {"name": "items", "type": {"type": "array", "items": "Item"}},
            {"name": "total", "type": ["null", "shop.Money"]},
            {"name": "kind", "type": "Kind"},
            {"name": "tag", "type": "Tag"},
            {"name": "refund_of", "type": ["null", "Order"]},
        ],
    }
    reference = {"name": "shop.Money", "subject": "money", "version": 1}
    server.register("money", json.dumps(money))
    server.register("item", json.dumps(item), [reference])
    server.register("tag", json.dumps(tag))
    number = server.register(
        "order",
        json.dumps(order),
        [
            {"name": "shop.Item", "subject": "item", "version": 1},
            reference,
            {"name": "Tag", "subject": "tag", "version": 1},
        ],
    )
    registry = SchemaRegistry(settings_for(server))
    for _ in range(2):
        schemas = registry.writer_schemas([number])
    text = schemas[number]
    assert text is not None
    assert text.count('"cents"') == 1
    value = {
        "items": [{"price": {"cents": 5}, "kind": "b"}],
        "total": {"cents": 5},
        "kind": "a",
        "tag": {"text": "t"},
        "refund_of": None,
    }
    assert read_confluent(written(number, json.loads(text), value), schemas) == value
    # fetched once each, though Money is referred to twice
    assert len(server.requests) == 4


def test_a_reference_that_is_missing_makes_its_schema_unknown_until_it_is_there(server: EmbeddedRegistry) -> None:
    number = server.register(
        "view", json.dumps(record("View", click="Click")), [{"name": "Click", "subject": "click", "version": 1}]
    )
    registry = SchemaRegistry(settings_for(server))
    value = b"\x00" + number.to_bytes(4, "big") + b"\x02/"
    assert registry.writer_schemas([number]) == {number: None}
    server.register("click", json.dumps(V1))
    assert read_confluent(value, registry.writer_schemas([number])) == {"click": {"url": "/"}}


def test_references_in_a_circle_come_to_an_end(server: EmbeddedRegistry) -> None:
    a = server.register("a", json.dumps(record("A", b=["null", "B"])), [{"name": "B", "subject": "b", "version": 1}])
    server.register("b", json.dumps(record("B", a=["null", "A"])), [{"name": "A", "subject": "a", "version": 1}])
    schemas = SchemaRegistry(settings_for(server)).writer_schemas([a])
    assert read_confluent(b"\x00\x00\x00\x00\x01\x02\x00", schemas) == {"b": {"a": None}}


def test_a_registry_that_is_down_says_so_and_comes_back() -> None:
    with EmbeddedRegistry() as server:
        first, second = server.register("a", json.dumps(V1)), server.register("a", json.dumps(V2))
        registry = SchemaRegistry(settings_for(server))
        assert registry.writer_schemas([first]) == {first: json.dumps(V1)}
        server.stop()
        assert registry.writer_schemas([first]) == {first: json.dumps(V1)}
        with pytest.raises(RegistryUnavailable) as raised:
            registry.writer_schemas([first, second])
        assert str(raised.value) == (
            f"The schema registry at {server.url} can not be reached (Connection refused). "
            "The query waits and asks again; no record is rejected for it."
        )
        server.start()
        assert registry.writer_schemas([first, second]) == {first: json.dumps(V1), second: json.dumps(V2)}


def test_credentials_are_sent_and_where_they_are_refused_it_says_so_without_them() -> None:
    with EmbeddedRegistry(username="sluice", password="s3cr3t:x") as server:
        number = server.register("a", json.dumps(V1))
        right = settings_for(server, username="sluice", password=SecretStr("s3cr3t:x"))
        assert SchemaRegistry(right).writer_schemas([number]) == {number: json.dumps(V1)}
        wrong = settings_for(server, username="sluice", password=SecretStr("hunter2"))
        for settings in (wrong, settings_for(server)):
            with pytest.raises(RegistryUnavailable) as raised:
                SchemaRegistry(settings).writer_schemas([number])
            assert "refuses the credentials (HTTP 401)" in str(raised.value)
            assert "hunter2" not in f"{raised.value!r} {raised.value} {vars(raised.value)}"


def test_a_log_masks_what_the_client_calls_its_credentials() -> None:
    text = redact("registry.password=hunter2 basic.auth.user.info=me:hunter2 {'basic.auth.user.info': 'me:hunter2'}")
    assert "hunter2" not in text


class _Odd(http.server.BaseHTTPRequestHandler):
    status, body = 500, b"oops"

    def do_GET(self) -> None:
        self.send_response(type(self).status)
        self.send_header("Content-Length", str(len(type(self).body)))
        self.end_headers()
        self.wfile.write(type(self).body)

    def log_message(self, *_: Any) -> None: ...


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (500, b"oops", "answers with HTTP 500"),
        (503, b'{"error_code": 50003, "message": "no leader"}', "answers with HTTP 503"),
        (403, b'{"error_code": 40301, "message": "no"}', "refuses the credentials (HTTP 403); correct "),
        (404, b"<html>", "answers with HTTP 404, as a schema registry does not; check `registry.url`"),
        (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}', "answers with HTTP 404, as a schema registry"),
        (200, b"<html>a login page</html>", "answers, but not as a schema registry does"),
        (200, b"[]", "answers, but not as a schema registry does"),
    ],
)
def test_whatever_is_no_answer_of_a_registry_makes_it_unavailable(status: int, body: bytes, why: str) -> None:
    handler = type("Handler", (_Odd,), {"status": status, "body": body})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        settings = RegistrySettings(url=f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(RegistryUnavailable) as raised:
            SchemaRegistry(settings).writer_schemas([1])
    finally:
        server.shutdown()
        server.server_close()
    assert why in str(raised.value)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def test_tls_is_spoken_with_the_authority_that_is_named_and_no_other(tmp_path: Path) -> None:
    certificate_file, key_file = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate_file, key_file)
    # the client has to show a certificate as well
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(certificate_file)
    with EmbeddedRegistry(tls=tls) as server:
        number = server.register("a", json.dumps(V1))
        named = settings_for(
            server,
            ssl_ca_location=certificate_file,
            ssl_certificate_location=certificate_file,
            ssl_key_location=key_file,
        )
        assert SchemaRegistry(named).writer_schemas([number]) == {number: json.dumps(V1)}
        with pytest.raises(RegistryUnavailable, match="its certificate is not accepted: self-signed certificate"):
            SchemaRegistry(settings_for(server)).writer_schemas([number])
        with pytest.raises(RegistryUnavailable, match="can not be reached"):
            SchemaRegistry(settings_for(server, ssl_ca_location=certificate_file)).writer_schemas([number])


def sentence(**settings: Any) -> str:
    with pytest.raises(InvalidSettings) as raised:
        SchemaRegistry(RegistrySettings(**settings))
    return str(raised.value.complaints[0])


def test_settings_that_can_not_be_used_have_their_sentence(tmp_path: Path) -> None:
    url, none = "http://127.0.0.1:1", tmp_path / "none.pem"
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    assert sentence() == "registry.url: It is not set. Set it to the URL of the schema registry."
    assert sentence(url=url, username="me") == (
        "registry.username, registry.password: One is set without the other. Set both."
    )
    assert sentence(url=url, ssl_ca_location=none) == (
        f"registry.ssl_ca_location: There is no file {none}. Name one that exists."
    )
    assert sentence(url=url, ssl_ca_location=wrong) == (
        "registry.ssl_*: The files hold no certificate or key that can be used. They have to be PEM files."
    )
    assert sentence(url=url, ssl_key_location=wrong) == (
        "registry.ssl_key_location: It is the key of no certificate. Set `registry.ssl_certificate_location`."
    )


def test_a_pipeline_without_avro_needs_no_registry_and_one_with_it_needs_its_url(tmp_path: Path) -> None:
    without = load(write(tmp_path / "json", {}))
    assert registry_for(without, Settings()) is None
    with_avro = load(write(tmp_path / "avro", changed("tables/bronze.rates.yml", "format: json", "format: avro")))
    with pytest.raises(InvalidSettings) as raised:
        registry_for(with_avro, Settings())
    assert raised.value.complaints == (
        "registry.url: It is not set, and `bronze.rates` can not be decoded without the schema registry. Set it.",
    )
    # nothing answers there, which is no reason not to start
    settings = Settings(registry=RegistrySettings(url="http://127.0.0.1:1"))
    assert registry_for(with_avro, settings) is not None


def test_who_only_looks_at_the_tables_needs_no_registry(tmp_path: Path) -> None:
    with_avro = load(write(tmp_path / "avro", changed("tables/bronze.rates.yml", "format: json", "format: avro")))
    settings = Settings(lake=str(tmp_path / "lake"))
    with pytest.raises(InvalidSettings, match=r"registry\.url"):
        Graph.build(with_avro, settings)
    assert "bronze.rates" in Graph.build(with_avro, settings, decodes=False).bronze
