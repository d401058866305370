"""`yiwang down`: nothing of an environment that was made here runs any more; never for production.

Needs: nothing; a registry, a plan or a state that is refused elsewhere keeps nothing from going.
Changes: ends containers, networks, processes, mounts and firewall rules. Data and state stay, so that `up` serves the
same cases; with `purge` they go, too: through the engine what it made, in the reverse order, then what is left of it.
Holds the whole environment.
Resumes: run again, it takes what is still there.
"""

from __future__ import annotations

import shutil

from infra.engine import EngineError
from infra.local.recovery import cancel_stale_lock, take_down
from tools.environment import choice_path
from tools.locks import holding
from tools.recovering import Recovering
from tools.scopes import standing_scopes
from tools.stages import Run, StageError


def down(port: Recovering, run: Run, purge: bool = False) -> None:
    """Ends and removes everything that runs. Data and state stay, unless `purge`.

    Raises:
        StageError: something could not be removed.
    """
    if not port.folder.root.exists():
        return
    strange = ""
    with holding(port.folder, "down"):
        if purge:
            strange = _purge(port, run)
        else:
            with run.stage("cloud") as stage:
                port.cloud.stop()
                stage.say("stopped; data stays, make up serves the same cases")
    if purge:
        shutil.rmtree(port.folder.root)
    if strange:
        raise StageError(strange, "all of it is removed now; please report what it was")


def _purge(port: Recovering, run: Run) -> str:
    """Destroys through the engine what it made, in the reverse order, then whatever is left of the cloud: what the
    engine does not know any more, or could not destroy. Returns what that was.
    """
    with run.stage("cloud") as stage:
        cloud, destroyed, refused = port.cloud, [], ""
        if choice_path(port.folder).exists():
            cloud.start()
            scopes = standing_scopes(port.engine)
            for scope in scopes:  # nothing is taken away beneath an engine that is at work
                cancel_stale_lock(port.engine, scope, stage.log)
            for scope in reversed(scopes):
                try:
                    take_down(port.engine, scope, stage.log)
                    destroyed.append(scope)
                except EngineError as error:
                    refused = refused or f"{scope} was not destroyed by the engine: {error}"
        left = [f"{record.kind} {record.owner.name}" for record in cloud.inventory()]
        cloud.destroy()
        port.engine.unlink_settings()
        stage.say("destroyed " + (", ".join(destroyed) or "nothing"))
        return refused or (f"the engine left {', '.join(left)}" if left and destroyed else "")
