"""How fast the machine is that load comes from, and, in a local environment, that all hosts share.

A fixed piece of work is timed on all cores at once, before a run and after it: a neighbour who takes a core, or a
hypervisor that gives less, shows in it. What was steady and slow is told; what changed meanwhile makes a late answer
say nothing of the hosts.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import threading
import time
from itertools import count

from loadtests.result import Speed

PIECES = 5
PIECE_MIB = 160
"""About a twentieth of a second of two cores."""
BLOCK = bytes(1 << 20)


def speed() -> Speed:
    """The median of a few pieces: a moment's hiccup is not the machine's speed. Takes about half a second."""
    pieces = [_piece() for _ in range(PIECES)]
    return Speed(
        whole=statistics.median(whole for whole, _ in pieces), core=statistics.median(core for _, core in pieces)
    )


def _piece() -> tuple[float, float]:
    """MiB hashed per second by all cores, and per second of a processor's time."""
    numbers = count()
    cores = len(os.sched_getaffinity(0))
    used = [0.0] * cores

    def work(core: int) -> None:
        began = time.thread_time()
        while next(numbers) < PIECE_MIB:  # hashing so much at once lets the other threads go on
            hashlib.sha256(BLOCK).digest()
        used[core] = time.thread_time() - began

    threads = [threading.Thread(target=work, args=(core,)) for core in range(cores)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return PIECE_MIB / (time.perf_counter() - began), PIECE_MIB / max(sum(used), 1e-9)
