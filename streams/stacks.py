"""Where each thread of the driver is: what a log needs to say of a batch that does not move."""

from __future__ import annotations

import sys
import threading
import traceback

from streams import logs

log = logs.get(__name__)

_INNERMOST = 12


def log_stacks(reason: str) -> None:
    """One line for each thread that is at work on a table, with the calls that it is in, innermost last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        calls = [f"{one.name} ({one.filename}:{one.lineno})" for one in traceback.extract_stack(frame)]
        log.warning("where a thread is", reason=reason, thread=names.get(ident, str(ident)), calls=calls[-_INNERMOST:])
