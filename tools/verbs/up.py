"""`yiwang up`: everything is as registry and plan say, and people can be served.

Needs: the machine and its registries; in production the stacks' settings and this user logged in to their state.
Changes: every stack, each after those that it reads; every host, by the playbook; demo people where the environment is
made here. Holds the whole environment.
Resumes: every stage really runs, and one with nothing to do says so. Run again after whatever cut it short it goes on
from what is there; in production each stack's preview shows what that is, and is agreed to anew.
"""

from __future__ import annotations

from tools.locks import holding
from tools.port import Port
from tools.seeding import fill
from tools.stages import Run
from tools.watch import await_sight


def up(port: Port, run: Run) -> None:
    """Brings the environment up, or heals it.

    Raises:
        StageError: a stage cannot go on, or was not agreed to; what was done stays.
    """
    with holding(port.folder, "up"):
        port.stand(run)
        outputs = port.engine.merged_outputs()
        port.play(run)
        with run.stage("monitoring") as stage:
            stage.say(await_sight(outputs), changed=False)
        fill(run, port.engine, outputs, outputs.tenants)


def provision(port: Port, run: Run) -> None:
    """The part that is the engine's: every stack stands, its hosts are bare.

    Raises:
        StageError: as `up`.
    """
    with holding(port.folder, "provision"):
        port.stand(run)
