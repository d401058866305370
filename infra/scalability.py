"""The universal scalability law: what N things carry together, from what one carries.

    X(N) = λN / (1 + σ(N − 1) + κN(N − 1))

N. J. Gunther, Guerrilla Capacity Planning (Springer, 2007), chapters 4 to 6, and "A General Theory of Computational
Scalability Based on Rational Functions" (arXiv:0808.1431). N is hosts, or requests in flight.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

NAME: Final = "universal scalability"
MOST_HOSTS = 100
"""Of one role in one cell; a network's vSwitch and the plan hold no more."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Part = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class OutOfReach(Exception):
    """No number of hosts carries what is asked for; the message says what the law's maximum is."""


class ScalabilityLaw(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    of_one: Positive = Field(description="λ: what one carries alone, a second")
    contention: Part = Field(description="σ: share of the work that waits for what all share")
    coherency: Part = Field(description="κ: cost of each pair's agreement; above zero more may carry less")

    def throughput(self, count: float) -> float:
        """What `count` carry together, a second."""
        pairs = self.contention * (count - 1) + self.coherency * count * (count - 1)
        return self.of_one * count / (1 + pairs)

    @property
    def peak_at(self) -> float:
        """The count above which more carry no more: infinite where nothing is agreed in pairs."""
        return math.sqrt((1 - self.contention) / self.coherency) if self.coherency > 0 else math.inf

    @property
    def peak(self) -> float:
        """The most that any count carries; without coherency cost the limit that ever more approach."""
        if self.coherency > 0:
            return self.throughput(max(1.0, self.peak_at))
        return self.of_one / self.contention if self.contention > 0 else math.inf

    def needed(self, target: float, headroom: float) -> int:
        """The fewest hosts that carry `target` a second and leave the share `headroom` of what they carry unused:
        the smallest n with (1 − headroom) · X(n) ≥ target.

        Raises:
            ValueError: the target or the headroom is no such figure.
            OutOfReach: no count up to the law's maximum reaches it.
        """
        if not (math.isfinite(target) and target > 0):
            raise ValueError(f"a target of {target:g} a second: give a rate above zero")
        if not 0 <= headroom < 1:
            raise ValueError(f"a headroom of {headroom:g}: give a share from 0 to below 1")
        counts = range(1, MOST_HOSTS + 1)
        for count in counts:
            if (1 - headroom) * self.throughput(count) >= target:
                return count
        most = max(counts, key=self.throughput)
        raise OutOfReach(
            f"{target:.1f}/s with headroom {headroom:g} is out of reach: the most is "
            f"{(1 - headroom) * self.throughput(most):.1f}/s, with {most} hosts; another cell is needed"
        )
