"""Bringing an environment up, bringing a tenant live, taking everything down: the stages behind `make`."""

from __future__ import annotations

import fcntl
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from infra import plan as plans
from infra.engine import Engine, EngineError, changed_resources
from infra.folder import EnvironmentFolder, cache
from infra.local.cloud.cloud import Cloud
from infra.local.cloud.settings import CloudSettings
from infra.local.images.build import build_images, images_are_current
from infra.local.plugin.install import install as install_plugin
from infra.local.recovery import cancel_stale_lock, mend_backend, recover, take_down
from infra.names import StackName
from infra.outputs import EnvironmentOutputs, TenantOutputs
from infra.registry import Registry, load_registry
from infra.services import IDENTITY
from tools import environment as environments
from tools import invitations, machine, onboarding, stack_settings
from tools.counts import counted
from tools.deployment import play
from tools.environment import RegistryOverlay, must_run
from tools.operator_client import Operator
from tools.seeding import seed, smoke
from tools.stages import Run, Stage, StageError
from tools.watch import await_sight

FOUNDATION = "foundation"
BURST = 4.0
"""How many times its own share of a core a local host may use while a playbook sets it up."""


@contextmanager
def holding(folder: EnvironmentFolder) -> Iterator[None]:
    """One command at a time changes an environment.

    Raises:
        StageError: another one is at work.
    """
    folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder.root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StageError(
                f"another command is changing environment {folder.environment}", "wait for it to end, then try again"
            ) from None
        yield


@contextmanager
def judging(engine: Engine, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the environment while it is judged what its hosts carry. Local ones that a command cut short left bursting
    have their own share of a core first: with more they would seem to carry more.

    Raises:
        StageError: it does not run, or another command is at work.
    """
    must_run(engine)
    with holding(engine.folder):
        if engine.folder.cloud.exists():
            cloud = Cloud(engine.folder.cloud, engine.environment)
            own, given = CloudSettings.cores_per_vcpu, cloud.settings.cores_per_vcpu
            if given != own:
                Lifecycle(engine.environment).set_speed(1.0)
                say(f"hosts had {given / own:g} times their share of a core and have their own again")
        yield


def prepare_machine(stage: Stage) -> None:
    """Brings the machine to where an environment can start."""
    done = machine.prepare(stage.log)
    if not images_are_current(cache()):
        build_images(cache(), lambda line: print(line, file=stage.log))
        done.append("images")
    stage.say(", ".join(done) or "all there", changed=bool(done))


def registry_of(folder: EnvironmentFolder) -> Registry:
    return load_registry(overlay=folder.registry_overlay)


def scopes_of(folder: EnvironmentFolder) -> list[str]:
    """Scopes of the environment's stacks in the order in which they are brought up."""
    registry = registry_of(folder)
    plan, _ = plans.load(folder.environment, registry)
    return [FOUNDATION, *sorted(plan.cells), *registry.scopes()]


def standing_scopes(engine: Engine) -> list[str]:
    """Scopes of the stacks that there are, in that order, too, whatever a registry and a plan say that may be wrong."""
    kinds = ["foundation", "cell", "tenants"]
    return sorted(engine.stacks(), key=lambda scope: (kinds.index(StackName(engine.environment, scope).kind), scope))


def operator_of(engine: Engine, outputs: EnvironmentOutputs) -> Operator:
    """The operator's client, its secret read from the stack of the cell that runs identity."""
    core = next(cell.cell for cell in outputs.cells if IDENTITY in [service.name for service in cell.services])
    secret = engine.outputs(core, secrets=True)["secrets"]["operator_client_secret"]
    private = bool(outputs.foundation.authority_certificate)
    return Operator(outputs.issuer, secret, engine.folder.authority / "authority.pem" if private else None)


@dataclass
class Lifecycle:
    """The commands on one environment that `make` may touch."""

    environment: str
    overlay: RegistryOverlay | None = None
    speed: float = 1.0
    """How many times its own share of a core each local host gets."""

    def __post_init__(self) -> None:
        environments.refuse_production(self.environment)
        self.folder = EnvironmentFolder(self.environment)
        self.engine = Engine(self.folder)

    @property
    def registry(self) -> Registry:
        return registry_of(self.folder)

    def up(self, console: Console | None = None) -> Run:
        """Brings the environment up, or heals it. Every stage really runs; one with nothing to do says so.

        Raises:
            StageError: a stage cannot go on; what was done stays, and the next run goes on from there.
        """
        run = Run("up", self.folder.logs, console or Console(highlight=False))
        with holding(self.folder):
            self._provision(run)
            outputs = self.engine.merged_outputs()
            with run.stage("deployment") as stage:
                self._deploy(stage)
            with run.stage("monitoring") as stage:
                stage.say(await_sight(outputs), changed=False)
            self._fill(run, outputs, outputs.tenants)
        return run

    def provision(self, console: Console | None = None) -> Run:
        """The part of `up` that is the engine's: every stack stands, its hosts are bare.

        Raises:
            StageError: as `up`.
        """
        run = Run("provision", self.folder.logs, console or Console(highlight=False))
        with holding(self.folder):
            self._provision(run)
        return run

    def resize(self, cell: str, console: Console | None = None) -> Run:
        """Brings one cell to what the plan says: its stack alone, then the playbook, until monitoring sees it.

        Raises:
            StageError: the plan knows no such cell, or a stage cannot go on.
        """
        environments.load_choice(self.folder)
        if cell not in scopes_of(self.folder):
            raise StageError(f"the plan of {self.environment} has no {cell!r}", "see yiwang plan --help")
        run = Run("resize", self.folder.logs, console or Console(highlight=False))
        with holding(self.folder):
            self._preview(cell, run)
            with run.stage(cell) as stage:
                self._update(cell, stage)
            outputs = self.engine.merged_outputs()
            with run.stage("deployment") as stage:
                self._deploy(stage)
            with run.stage("monitoring") as stage:
                stage.say(await_sight(outputs), changed=False)
        return run

    def onboard(self, word: str, console: Console | None = None) -> tuple[Run, dict[str, str] | None]:
        """Brings the planned tenant of that code, name or label live: its stack alone, a playbook limited to what it
        needs, the catalogue, a smoke check, and an invitation for its first administrator (None when it has one, or
        was invited already).

        Raises:
            StageError: the tenant cannot come, and nothing was changed; or a stage cannot go on.
        """
        environments.load_choice(self.folder)
        run = Run("onboard", self.folder.logs, console or Console(highlight=False))
        with holding(self.folder):
            with run.stage("checks") as stage:
                coming, outputs = onboarding.check(self.engine, word)
                with closing(operator_of(self.engine, outputs)) as operator:
                    onboarding.check_identity(operator, coming.tenant.code)
                state = "is to come" if coming.overlay else "is live already"
                stage.say(f"{coming.tenant.name} {state}; its stack, every host and identity answer", changed=False)
            with onboarding.joining(self.engine, coming, run) as joined:
                self._preview(coming.scope, run)
                joined.begun = True
                with run.stage(coming.scope) as stage:
                    self._update(coming.scope, stage)
            outputs = self.engine.merged_outputs()
            tenant = next(tenant for tenant in outputs.tenants if tenant.code == coming.tenant.code)
            with run.stage("deployment") as stage:
                self._deploy(stage, "--tags", "tenants", tenant=tenant.code)
            self._fill(run, outputs, [tenant])
            return run, self._invite(run, outputs, tenant)

    def down(self, purge: bool = False, console: Console | None = None) -> Run:
        """Ends and removes everything that runs. Data and state stay, unless `purge`.

        Raises:
            StageError: something could not be removed.
        """
        run = Run("down", self.folder.logs, console or Console(highlight=False))
        if not self.folder.root.exists():
            return run
        strange = ""
        with holding(self.folder):
            if purge:
                strange = self._purge(run)
            else:
                with run.stage("cloud") as stage:
                    self.cloud.stop()
                    stage.say("stopped; data stays, make up serves the same cases")
        if purge:
            shutil.rmtree(self.folder.root)
        if strange:
            raise StageError(strange, "all of it is removed now; please report what it was")
        return run

    def _provision(self, run: Run) -> None:
        with run.stage("machine") as stage:
            prepare_machine(stage)
        with run.stage("environment") as stage:
            self._prepare_environment(stage)
        with run.stage("cloud") as stage:
            started = self.cloud.start()
            print("\n".join(started), file=stage.log)
            stage.say(f"started {counted(len(started), 'thing')}" if started else "runs", changed=bool(started))
        for scope in scopes_of(self.folder):
            with run.stage(scope) as stage:
                self._update(scope, stage)

    def _prepare_environment(self, stage: Stage) -> None:
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

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.folder.cloud, self.environment)

    def _cloud_settings(self) -> CloudSettings:
        choice, authority = environments.load_choice(self.folder), self.folder.authority
        return CloudSettings(
            cores_per_vcpu=self.speed * CloudSettings.cores_per_vcpu,
            site_port=choice.site_port,
            object_domain=choice.object_host,
            object_certificate=str(authority / "objects.pem"),
            object_key=str(authority / "objects.key"),
        )

    def _preview(self, scope: str, run: Run) -> None:
        with run.stage("preview") as stage:
            changes = self.engine.preview(scope, stage.log)
            stage.say(f"{scope}: {changes}", changed=False)
        for resource in changed_resources(stage.log_path.read_text()):
            run.console.print(f"    {resource}", style="dim", soft_wrap=True)

    def _update(self, scope: str, stage: Stage) -> None:
        changes = recover(self.engine, scope, stage.log)
        stage.say(str(changes), changed=changes.any)

    def _deploy(self, stage: Stage, *options: str, **extra: str) -> None:
        with self.bursting():
            recap = play(self.engine, "site.yml", stage.log, *options, **extra)
        stage.say(str(recap), changed=recap.any)

    @contextmanager
    def bursting(self) -> Iterator[None]:
        """Hosts may use what the machine has to spare: installing takes minutes on a tenth of a core, and nobody judges
        what they carry meanwhile. A command that is cut short leaves them so; the next `up` or `judging` sets it right.
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

    def _fill(self, run: Run, outputs: EnvironmentOutputs, tenants: list[TenantOutputs]) -> None:
        with closing(operator_of(self.engine, outputs)) as operator:
            with run.stage("people and items") as stage:
                stage.say(*seed(operator, outputs, tenants, self.folder.demo, stage.log))
            with run.stage("smoke check") as stage:
                stage.say(smoke(operator, outputs, tenants), changed=False)

    def _invite(self, run: Run, outputs: EnvironmentOutputs, tenant: TenantOutputs) -> dict[str, str] | None:
        """An invitation if one is owed, whatever this run found to do: an earlier one may have been cut short."""
        with closing(operator_of(self.engine, outputs)) as operator, run.stage("invitation") as stage:
            if standing := invitations.standing(operator, tenant):
                another = f"yiwang invitation give {self.environment} {tenant.code}"
                stage.say(f"{standing}; another: {another}", changed=False)
                return None
            stage.say(f"for {tenant.name}'s first administrator")
            return invitations.give(operator, tenant)

    def _purge(self, run: Run) -> str:
        """Destroys through the engine what it made, in the reverse order, then whatever is left of the cloud: what the
        engine does not know any more, or could not destroy. Returns what that was.
        """
        with run.stage("cloud") as stage:
            cloud, destroyed, refused = self.cloud, [], ""
            if environments.choice_path(self.folder).exists():
                cloud.start()
                scopes = standing_scopes(self.engine)
                for scope in scopes:  # nothing is taken away beneath an engine that is at work
                    cancel_stale_lock(self.engine, scope, stage.log)
                for scope in reversed(scopes):
                    try:
                        take_down(self.engine, scope, stage.log)
                        destroyed.append(scope)
                    except EngineError as error:
                        refused = refused or f"{scope} was not destroyed by the engine: {error}"
            left = [f"{record.kind} {record.owner.name}" for record in cloud.inventory()]
            cloud.destroy()
            self.engine.unlink_settings()
            stage.say("destroyed " + (", ".join(destroyed) or "nothing"))
            return refused or (f"the engine left {', '.join(left)}" if left and destroyed else "")
