"""What a page of an error says: what happened, what to do. Each site has its own words, chosen in one way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.kernel.problems import Problem

Words = tuple[str, str]
"""Heading and advice."""


@dataclass(frozen=True)
class ErrorWords:
    """The words of one site: by the kind of a problem, else by its status, else by whose fault it is."""

    by_kind: Mapping[str, Words]
    by_status: Mapping[int, Words]
    broken_link: Words
    refused: Words
    otherwise: Words

    def is_broken_link(self, problem: Problem, method: str) -> bool:
        """The address itself is not understood: nothing was filled in that could be put right."""
        return problem.status in (400, 422) and method in ("GET", "HEAD") and problem.kind not in self.by_kind

    def of(self, problem: Problem, method: str) -> Words:
        if self.is_broken_link(problem, method):
            return self.broken_link
        otherwise = self.otherwise if problem.status >= 500 else self.refused
        return self.by_kind.get(problem.kind) or self.by_status.get(problem.status, otherwise)
