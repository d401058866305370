"""Whether the machine let a run tell anything of time.

The hosts of a local environment share one machine with the load and with whoever else is at work there; elsewhere it is
the generator's own. Where its speed changed during the run, or all its cores were taken, an answer may have been late
for that alone: such a run cannot say that a promise was broken. What was kept in spite of it was kept, and what hosts
used of their own share, they used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loadtests.gate.verdict import Check
from loadtests.result import LoadResult
from monitoring.objectives import Objectives

TIMES = ("latency", "freshness", "index lag")
"""How limits begin that are of times."""


def unsteady(objectives: Objectives, load: LoadResult) -> str | None:
    """Why late answers may be the machine's; None where it was steady and had room."""
    machine, limits = load.machine, objectives.gate
    if machine is not None and machine.changed > limits.noise:
        return (
            f"the machine hashed {machine.before.whole:.0f} MiB/s before the run and {machine.after.whole:.0f} after it"
        )
    if load.machine_busy is not None and load.machine_busy > limits.machine_busy:
        return f"{load.machine_busy:.2f} of all the machine's cores were in use"
    return None


def forgiven(checks: Iterable[Check], why: str | None) -> Iterator[Check]:
    """The checks; what was late on a machine that was not steady is unsure."""
    for check in checks:
        if why is None or check.outcome != "broken" or check.kind != "promise" or not check.limit.startswith(TIMES):
            yield check
        else:
            said = f"{check.sentence} The run cannot tell whether it was the machine: {why}."
            yield check.model_copy(update={"outcome": "unsure", "sentence": said})
