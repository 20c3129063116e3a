"""Asking the service that runs on a lake to do something, and waiting for its answer."""

from __future__ import annotations

import time
from typing import Any

from checkpoints.requests import Asked, Requests
from schemas.errors import SluiceError

_ASK_SECONDS = 0.2


class NotAnswered(SluiceError):
    """The service ended before it had answered."""

    def __init__(self) -> None:
        super().__init__("The service ended before it had answered. The request was taken back; ask again.")


class RequestFailed(SluiceError):
    """The service tried what it was asked for, and could not do it."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"The service could not do it: {why}")


def ask(requests: Requests, action: Asked) -> dict[str, Any]:
    """Leave the request to the service, and wait for the answer for as long as the service lives."""
    request = requests.submit(action)
    while (answer := requests.answered(request)) is None:
        if requests.service() is None:
            requests.withdraw(request)
            raise NotAnswered
        time.sleep(_ASK_SECONDS)
    if answer.error:
        raise RequestFailed(answer.error)
    return dict(answer.result)
