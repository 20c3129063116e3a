"""The process that holds a detached stack; `control.up` starts it with the folder as its argument."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from deploy import DeployError
from deploy.embedded import shop
from deploy.embedded.control import ALREADY_HELD, StackState, held
from deploy.embedded.stack import EmbeddedStack


def main(folder: Path) -> int:
    """Hold the stack until SIGTERM or SIGINT; what went wrong is written to standard error."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    with held(folder) as mine:
        if not mine:
            return ALREADY_HELD
        try:
            _hold(folder)
        except DeployError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


def _hold(folder: Path) -> None:
    with EmbeddedStack(folder) as stack:
        shop.create_tables(stack.postgres.dsn)
        connect = stack.start_connect()
        StackState(
            folder=folder,
            bootstrap=stack.kafka.bootstrap,
            registry_url=stack.registry.url,
            dsn=stack.postgres.dsn,
            connect_url=connect.url,
            supervisor=os.getpid(),
            pids=stack.pids,
        ).write()
        threading.Event().wait()


def _end(_number: int, _frame: FrameType | None) -> None:
    # A second signal must not interrupt the stopping.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
