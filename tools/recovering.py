"""The form of the port for environments that are made on this machine: whatever an earlier run left is mended first.

Stale locks are cancelled, a torn backend is mended, what a killed engine began is found again, and after each update
the local cloud is compared with the state (`infra/local/recovery.py`). Nobody is asked: what it holds can be made anew.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.engine import Engine, changed_resources
from infra.folder import EnvironmentFolder, cache
from infra.local.cloud.cloud import Cloud
from infra.local.cloud.errors import CloudError
from infra.local.cloud.settings import CloudSettings
from infra.local.plugin.install import install as install_plugin
from infra.local.recovery import mend_backend, recover
from infra.outputs import EnvironmentOutputs
from infra.registry import Registry
from tools import environment as environments
from tools import stack_settings
from tools.counts import counted
from tools.deployment import play, silent
from tools.environment import RegistryOverlay
from tools.images import prepare_machine
from tools.locks import turn
from tools.port import Agreed
from tools.scopes import each_in_turn, registry_of, scopes_of, stacks_of
from tools.stages import Run, Stage, StageError

BURST = 4.0
"""How many times its own share of a core a local host may use while a playbook sets it up."""


@dataclass
class Recovering:
    """The engine, the playbooks and the cloud of a local or test environment."""

    folder: EnvironmentFolder
    overlay: RegistryOverlay | None = None
    """What its registry says of tenants' status when it is made."""
    speed: float = 1.0
    """How many times its own share of a core each local host gets."""
    stacks_at_once: int = 1
    """How many stacks are updated side by side: on two cores more of them only make each slower."""

    @property
    def environment(self) -> str:
        return self.folder.environment

    @property
    def engine(self) -> Engine:
        return Engine(self.folder)

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.folder.cloud, self.environment)

    @property
    def registry(self) -> Registry:
        return registry_of(self.folder)

    def must_run(self) -> None:
        with self._answering():
            runs = self.cloud.is_up()
        if not runs:
            raise StageError(f"environment {self.environment} does not run", environments.bringing_up(self.folder))

    def unreached(self, outputs: EnvironmentOutputs) -> list[str]:
        return silent(host for cell in outputs.cells for host in cell.hosts)

    def agreed(self, run: Run, scope: str, alone: str = "") -> Agreed:
        """Shows it and asks nobody. What else is broken in the stack is healed with it, so `alone` holds nothing up."""
        with run.stage("preview") as stage:
            changes = self.engine.preview(scope, stage.log)
            stage.say(f"{scope}: {changes}", changed=False)
        for resource in changed_resources(stage.log_path.read_text()):
            run.console.print(f"    {resource}", style="dim", soft_wrap=True)
        return Agreed(scope)

    def update(self, run: Run, agreed: Agreed) -> None:
        self._recover(run, agreed.scope)

    def stand(self, run: Run) -> None:
        with run.stage("machine") as stage:
            prepare_machine(stage)
        with run.stage("environment") as stage:
            self._make_environment(stage)
        with run.stage("cloud") as stage:
            started = self.cloud.start()
            print("\n".join(started), file=stage.log)
            stage.say(f"started {counted(len(started), 'thing')}" if started else "runs", changed=bool(started))
        each_in_turn(stacks_of(self.folder), lambda scope: self._recover(run, scope), self.stacks_at_once)

    def take_back(self, run: Run, scope: str, whose: str) -> None:
        try:
            with run.stage("taking back") as stage:
                changes = recover(self.engine, scope, stage.log)
                stage.say(f"{scope}: {changes}", changed=changes.any)
        except StageError:
            run.console.print(
                f"stack {self.engine.stack(scope)} is out of reach: if it has anything of {whose}, make up takes it "
                f"away, and onboarding it again goes on with it",
                soft_wrap=True,
            )

    def play(self, run: Run, *options: str, **extra: str) -> None:
        with (
            turn(self.folder, "playbook", run.command, run.console.print),
            run.stage("deployment") as stage,
            self.bursting(),
        ):
            recap = play(self.engine, "site.yml", stage.log, *options, **extra)
            stage.say(str(recap), changed=recap.any)

    def steady(self, say: Callable[[str], None]) -> None:
        if not self.folder.cloud.exists():
            return
        own, given = CloudSettings.cores_per_vcpu, self.cloud.settings.cores_per_vcpu
        if given != own:
            with self._answering():
                self.set_speed(1.0)
            say(f"hosts had {given / own:g} times their share of a core and have their own again")

    def keeper(self) -> dict[str, Any] | None:
        """Whether the local cloud's keeper runs, and what it did last; None where there is no cloud yet."""
        if not self.folder.cloud.exists():
            return None
        with self._answering():
            keeper = self.cloud.keeper
            return {"runs": bool(keeper.processes()), "log": str(keeper.log), "last": list(keeper.history(last=5))}

    @contextmanager
    def bursting(self) -> Iterator[None]:
        """Hosts may use what the machine has to spare: installing takes minutes on a tenth of a core, and nobody judges
        what they carry meanwhile. A command that is cut short leaves them so; the next `up` or whoever judges sets it
        right.
        """
        before = self.speed
        self.set_speed(max(BURST, before))
        try:
            yield
        finally:
            self.set_speed(before)

    def set_speed(self, speed: float) -> None:
        """Every host that runs gets `speed` times its own share of a core, and those to come."""
        self.speed = speed
        self.cloud.configure(self._cloud_settings())
        self.cloud.start()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """For what asks the cloud outside of any stage."""
        try:
            yield
        except (CloudError, subprocess.SubprocessError) as error:  # its own, and what it runs; neither knows of ours
            raise StageError(
                f"the cloud of {self.environment} does not answer: {error}",
                f"{environments.bringing_up(self.folder)} heals it",
            ) from None

    def _recover(self, run: Run, scope: str) -> None:
        with run.stage(scope) as stage:
            changes = recover(self.engine, scope, stage.log)
            stage.say(str(changes), changed=changes.any)

    def _make_environment(self, stage: Stage) -> None:
        done = environments.ensure(self.folder, self.overlay)
        if install_plugin(self.folder.pulumi_home, Path(sys.executable), str(cache() / "bin" / "pulumi")):
            done.append("provider plugin")
        self.cloud.configure(self._cloud_settings())
        mend_backend(self.engine, stage.log)
        made = [
            scope
            for scope in scopes_of(self.folder)
            if self.engine.ensure_stack(scope, stack_settings.machine_made(self.engine, scope))
        ]
        if made:
            done.append(f"settings of {', '.join(made)}")
        stage.say(", ".join(done) or "all there", changed=bool(done))

    def _cloud_settings(self) -> CloudSettings:
        choice, authority = environments.load_choice(self.folder), self.folder.authority
        return CloudSettings(
            cores_per_vcpu=self.speed * CloudSettings.cores_per_vcpu,
            site_port=choice.site_port,
            object_domain=choice.object_host,
            object_certificate=str(authority / "objects.pem"),
            object_key=str(authority / "objects.key"),
        )
