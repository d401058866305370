"""What rules are made of: the form of a text, the span of a number."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """A text of some length that matches as a whole; `says` is that in words."""

    says: str
    pattern: str = ".*"
    shortest: int = 0
    longest: int = 10**6

    def fault(self, value: object) -> str | None:
        """What is wrong with a text; what is no text is somebody else's to refuse."""
        if not isinstance(value, str):
            return None
        if not self.shortest <= len(value) <= self.longest:
            return f"has {len(value)} characters; allowed: {self.says}"
        return None if re.fullmatch(self.pattern, value, re.DOTALL) else f"is ill-formed; allowed: {self.says}"


@dataclass(frozen=True)
class Span:
    """Numbers from the lowest to the highest that are allowed, both among them."""

    low: int
    high: int

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


PORTS = Span(1, 65535)
