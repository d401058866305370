"""Waiting for a condition, never for a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

Value = TypeVar("Value")


def wait_until(condition: Callable[[], Value], timeout: float, what: str, every: float = 0.1) -> Value:
    """The first true value of `condition`.

    Raises:
        AssertionError: it stayed false for `timeout` seconds; the message says `what` was awaited.
    """
    waiting = Retrying(
        stop=stop_after_delay(timeout),
        wait=wait_fixed(every),
        retry=retry_if_result(lambda value: not value),
        retry_error_callback=lambda _: None,
    )
    value = waiting(condition)
    if not value:
        raise AssertionError(f"waited {timeout:g} s in vain: {what}")
    return value
