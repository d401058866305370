"""`yiwang resize`: one cell has what the plan says.

Needs: a plan that names the cell (`yiwang plan` writes it), and the cell's stack.
Changes: that stack alone, then what the playbook finds to do on hosts, until monitoring sees them. Holds the cell.
Resumes: run again, it goes on: a stack that is as the plan says has nothing to change, the playbook really runs.
"""

from __future__ import annotations

from tools.environment import bringing_up
from tools.locks import holding
from tools.port import Port
from tools.scopes import CELL, scopes_of
from tools.stages import Run, StageError
from tools.watch import await_sight


def resize(port: Port, cell: str, run: Run) -> None:
    """Brings the cell to what the plan says.

    Raises:
        StageError: the plan knows no such cell, or a stage cannot go on or was not agreed to.
    """
    environment = port.folder.environment
    cells = [scope for scope in scopes_of(port.folder) if scope.startswith(CELL)]
    if cell not in cells:
        raise StageError(
            f"the plan of {environment} has no cell {cell!r}", f"one of {', '.join(cells)}; see yiwang plan --help"
        )
    if cell not in port.engine.stacks():
        raise StageError(f"stack {port.engine.stack(cell)} is not there yet", bringing_up(port.folder))
    with holding(port.folder, f"resize {cell}", [cell]):
        port.update(run, port.agreed(run, cell))
        outputs = port.engine.merged_outputs()
        port.play(run)
        with run.stage("monitoring") as stage:
            stage.say(await_sight(outputs), changed=False)
