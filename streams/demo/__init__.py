"""`sluice demo`: a shop on this machine, and its changes becoming a star schema while one looks on."""

from __future__ import annotations

import sys
import time

from rich.console import Console

from schemas.errors import SluiceError

FAILED, ENDED_BY_SIGNAL = 1, 128
PLAIN_WIDTH = 120


def run_demo(*, seconds: int, rate: int, keep: bool) -> int:
    """Run the whole demo: `seconds` of traffic at `rate` changes per second; `keep` leaves the lake behind.

    0 where every record is accounted for and the tables equal their source, 1 where not or where something could
    not be started, 130 after Ctrl-C, 143 after SIGTERM. Signals are heard in the main thread only.
    """
    started = time.time()
    from deploy import DeployError  # the clock runs while this is imported
    from streams.demo.run import Demo
    from streams.demo.stopping import Stopped, stop_signals

    out, err = Console(), Console(file=sys.stderr)
    if not out.is_terminal:
        out = Console(width=PLAIN_WIDTH)
    try:
        with stop_signals():
            return Demo(out, started=started, seconds=seconds, rate=rate, keep=keep).run()
    except Stopped as stop:
        out.print(f"Stopped by {stop.name}: everything that the demo started has ended.", highlight=False)
        return ENDED_BY_SIGNAL + stop.number
    except (DeployError, SluiceError) as error:
        err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return FAILED
