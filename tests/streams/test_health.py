"""The small HTTP server: what it answers, to whom, and that no client holds anybody up."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from streams.health import CannotListen, HealthServer, PortInUse, Probe
from streams.metrics import Metrics


class Service:
    """What the probes are told."""

    alive = Probe(ok=True)
    ready = Probe(ok=False, detail={"orders": "waits for its topic"})


def plain(port: int = 0, host: str = "127.0.0.1") -> HealthServer:
    def yes() -> Probe:
        return Probe(ok=True)

    return HealthServer(Metrics.create("1").registry, alive=yes, ready=yes, host=host, port=port)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def server(service: Service) -> Iterator[HealthServer]:
    metrics = Metrics.create("1.2.3")
    with HealthServer(
        metrics.registry, alive=lambda: service.alive, ready=lambda: service.ready, host="127.0.0.1", port=0
    ) as running:
        yield running


def ask(server: HealthServer, path: str, method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Content-Type", ""), answer.read().decode()
    finally:
        connection.close()


def test_metrics_are_served(server: HealthServer) -> None:
    status, content_type, body = ask(server, "/metrics")
    assert status == 200
    assert content_type.startswith("text/plain")
    assert 'sluice_build_info{version="1.2.3"} 1.0' in body


def test_probes_answer_200_or_503_with_what_was_seen(server: HealthServer, service: Service) -> None:
    status, content_type, body = ask(server, "/livez")
    assert (status, content_type, json.loads(body)) == (200, "application/json", {"ok": True, "detail": {}})
    status, _, body = ask(server, "/readyz?verbose")
    assert (status, json.loads(body)) == (503, {"ok": False, "detail": {"orders": "waits for its topic"}})
    service.ready = Probe(ok=True, detail={"orders": "runs"})
    assert ask(server, "/readyz")[0] == 200


def test_a_probe_that_fails_is_a_no(service: Service) -> None:
    def alive() -> Probe:
        raise RuntimeError("secret")

    registry = Metrics.create("1").registry
    with HealthServer(registry, alive=alive, ready=alive, host="127.0.0.1", port=0) as server:
        status, _, body = ask(server, "/livez")
    assert status == 503
    assert json.loads(body)["detail"] == {"probe": "failed with RuntimeError"}
    assert "secret" not in body


def test_head_has_no_body(server: HealthServer) -> None:
    assert ask(server, "/livez", "HEAD") == (200, "application/json", "")


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "/livez/x"])
def test_elsewhere_is_nothing(server: HealthServer, path: str) -> None:
    status, content_type, body = ask(server, path)
    assert (status, content_type) == (404, "text/plain; charset=utf-8")
    assert body == "Not here: there are /metrics, /livez and /readyz.\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_get_and_head(server: HealthServer, method: str) -> None:
    assert ask(server, "/metrics", method)[0] == 405


def test_port_in_use_says_which_and_what_to_do(server: HealthServer) -> None:
    second = plain(server.port)
    with pytest.raises(PortInUse) as caught:
        second.start()
    assert str(caught.value) == (
        f"Port {server.port} on 127.0.0.1, the setting `metrics_port`, is in use by another process. "
        "Stop that process, or set `metrics_port` to a free port (0 takes any)."
    )


def test_an_address_of_another_machine_is_refused() -> None:
    far = plain(host="203.0.113.1")
    with pytest.raises(CannotListen, match="`metrics_host`"):
        far.start()


def test_stop_frees_the_port_and_start_is_repeatable() -> None:
    server = plain()
    server.start().start()
    port = server.port
    assert port > 0
    server.stop()
    server.stop()
    with plain(port) as again:
        assert ask(again, "/livez")[0] == 200


def test_silent_clients_hold_nobody_up_for_long(
    server: HealthServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    try:
        began = time.monotonic()
        assert threading.active_count() < 40
        status = 0
        while status != 200 and time.monotonic() - began < 15:
            try:
                status = ask(server, "/livez")[0]
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)
        assert status == 200
    finally:
        for client in silent:
            client.close()
    stopped = time.monotonic()
    server.stop()
    assert time.monotonic() - stopped < 2
    assert capsys.readouterr().err == ""
