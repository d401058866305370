"""Several modules as one process group: `python -m services.together affairs portal`.

Each is a process of its own, told by its own `/etc/yiwang/<module>.env`, on its own port, with its own metrics. They
are forked from one that has read the code they all need, so what they share of memory is there once: a module more
costs half of what it does alone. They share an account of the host as well, and so can read each other's secrets: that
is for hosts whose modules trust each other.

SIGTERM goes to all; when one ends, all do, and the unit starts them again.

Variables: `YIWANG_ENV_FOLDER`, by default `/etc/yiwang`.
"""

from __future__ import annotations

import gc
import importlib
import os
import runpy
import signal
import sys
from pathlib import Path

from dotenv import dotenv_values

SHARED = ("services.kernel.http", "services.kernel.server", "services.kernel.courier", "services.kernel.readiness")
FOLDER = Path("/etc/yiwang")


def start(module: str, folder: Path) -> int:
    """Forks the module's process; gives its id."""
    told = dotenv_values(folder / f"{module}.env", interpolate=False)
    child = os.fork()
    if child:
        return child
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update({name: value or "" for name, value in told.items()})
    try:
        runpy.run_module(f"services.{module}", run_name="__main__")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def main(modules: list[str]) -> int:
    """Serves until SIGTERM, or until one of them ends; 0 when they were asked to."""
    folder = Path(os.environ.get("YIWANG_ENV_FOLDER", FOLDER))
    for name in SHARED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection would write to every object, and so copy what is shared
    children = {start(module, folder) for module in modules}
    asked = False

    def end() -> None:
        for child in children:
            os.kill(child, signal.SIGTERM)

    def told_to_end(*_: object) -> None:
        nonlocal asked
        asked = True
        end()

    signal.signal(signal.SIGTERM, told_to_end)
    ended, _ = os.wait()
    children.discard(ended)
    if not asked:
        end()
    for child in children:
        os.waitpid(child, 0)
    return 0 if asked else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
