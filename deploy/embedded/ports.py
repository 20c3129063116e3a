"""Free ports on the loopback interface."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOWEST = 20_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DRAWS = 200


def free_ports(count: int) -> list[int]:
    """As many different ports as asked for, each free a moment ago on 127.0.0.1.

    They lie below the range from which the kernel takes the source ports of outgoing connections. A port
    from that range can be taken, while a broker is down, by the very client that tries to reach it (a TCP
    socket may connect to itself), and the broker could then not come back on its own port.
    """
    with ExitStack() as held:
        sockets = [held.enter_context(_bound()) for _ in range(count)]
        return [int(bound.getsockname()[1]) for bound in sockets]


def answers(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _bound() -> socket.socket:
    below = _first_ephemeral()
    for port in [random.randrange(LOWEST, below) for _ in range(_DRAWS)] if below > LOWEST else []:  # noqa: S311
        candidate = socket.socket()
        try:
            candidate.bind((LOOPBACK, port))
        except OSError:
            candidate.close()
        else:
            return candidate
    anywhere = socket.socket()
    anywhere.bind((LOOPBACK, 0))
    return anywhere


def _first_ephemeral() -> int:
    try:
        return int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
