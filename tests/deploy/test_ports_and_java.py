"""Ports are free and stay so; Java is found or named; properties files say what was meant."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deploy.embedded import java, ports
from deploy.embedded.errors import JavaMissingError


def test_ports_are_different_and_can_be_bound() -> None:
    chosen = ports.free_ports(5)
    assert len(set(chosen)) == 5
    for port in chosen:
        with socket.socket() as bound:
            bound.bind((ports.LOOPBACK, port))


def test_ports_are_out_of_the_range_of_outgoing_connections() -> None:
    assert all(port < ports._first_ephemeral() for port in ports.free_ports(20))


def test_where_that_range_takes_all_any_free_port_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = tmp_path / "range"
    everything.write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "_EPHEMERAL", everything)
    assert len(ports.free_ports(2)) == 2


def test_answers_says_whether_somebody_listens() -> None:
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, 0))
        port = listener.getsockname()[1]
        listener.listen()
        assert ports.answers(port)
    assert not ports.answers(port)


def test_java_home_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "jdk"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch(mode=0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert java.find_java() == str(home / "bin" / "java")


def test_a_missing_java_names_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(JavaMissingError, match=r"JAVA_HOME=/nonexistent and the PATH\. Install it"):
        java.find_java()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain/path-1_x", "plain/path-1_x"),
        (" a b", "\\u0020a\\u0020b"),
        ("c:\\d", "c:\\\\d"),
        ("ü𝄞", "\\u00fc\\ud834\\udd1e"),
    ],
)
def test_properties_are_escaped_for_java_and_private(tmp_path: Path, value: str, written: str) -> None:
    path = tmp_path / "some.properties"
    java.write_properties(path, {"key": value})
    assert path.read_text() == f"key={written}\n"
    assert path.stat().st_mode & 0o077 == 0
