"""Bringing a stack up whatever happened to the run before: killed, interrupted, its things removed by hand.

Everything is done by the engine's own commands; what exists is asked of the local cloud. Each step does nothing where
nothing is wrong, so the same function serves a first run, a second one and a broken one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import unquote

import psutil

from infra.engine import Changes, Engine, EngineError
from infra.local.plugin.inventory import Thing, things

PROVIDER = "pulumi:providers:alicloud"
PACKAGE = "alicloud:"


@dataclass(frozen=True)
class State:
    """What the engine has on record of a stack."""

    resources: set[tuple[str, str]] = field(default_factory=set)
    """(type, id) of everything that a cloud made."""
    pending: list[str] = field(default_factory=list)
    """Operations that were begun and never reported back."""
    provider: str = ""


@dataclass(frozen=True)
class Comparison:
    """How the cloud and the state differ; both empty when they agree. What a state let go on purpose does not count."""

    missing: set[tuple[str, str]]
    unknown: set[Thing]

    def __str__(self) -> str:
        missing = [f"{token} {id} is in the state and gone from the cloud" for token, id in sorted(self.missing)]
        unknown = [f"{thing.token} {thing.id} ({thing.name}) is in the cloud alone" for thing in sorted(self.unknown)]
        return "; ".join([*missing, *unknown])


def recover(engine: Engine, scope: str, log: TextIO) -> Changes:
    """`up`, after whatever the stack needs first, until the state and the cloud agree.

    Raises:
        EngineError: another engine is at work on the stack, the update failed, or the two still differ.
    """
    _clear(engine, scope, log)
    changes = engine.up(scope, log)
    difference = compare(engine, scope)
    if difference.missing or difference.unknown:
        print(f"the cloud and the state differ: {difference}", file=log, flush=True)
        changes = _reconcile(engine, scope, difference, log)
    return changes


def take_down(engine: Engine, scope: str, log: TextIO) -> Changes:
    """`destroy`, after whatever the stack needs first. What its state let go is taken over again and goes, too: nothing
    that it names could go otherwise.

    Raises:
        EngineError: another engine is at work on the stack, or something could not go.
    """
    _clear(engine, scope, log)
    state = read_state(engine, scope)
    existing = things(engine.environment, engine.stack(scope)) if state.provider else set()
    let_go = {thing for thing in existing if (thing.token, thing.id) not in state.resources}
    _take_over(engine, scope, let_go, log)
    before = len(state.resources) + len(let_go)
    while True:
        try:
            return engine.destroy(scope, log, "--continue-on-error")
        except EngineError:
            # The state does not know what names what was taken over: each round takes what nothing names any more.
            left = len(read_state(engine, scope).resources)
            if left >= before:
                raise
            before = left


def _clear(engine: Engine, scope: str, log: TextIO) -> None:
    """Take away what a killed engine left."""
    mend_backend(engine, log)
    cancel_stale_lock(engine, scope, log)
    if read_state(engine, scope).pending:
        # What was being created is found again by its URN when the update asks for it.
        engine.refresh(scope, log, "--clear-pending-creates")


def mend_backend(engine: Engine, log: TextIO) -> list[Path]:
    """Take away torn side files of metadata, which an engine without our variables writes beside each of its files.

    The files themselves are replaced atomically; yet the engine cannot read a state whose side file is empty ("EOF").
    """
    torn = [path for path in engine.folder.pulumi_backend.rglob("*.attrs") if not _is_json(path)]
    for path in torn:
        print(f"removes {path.name}, torn by an engine that was killed", file=log, flush=True)
        path.unlink()
    return torn


def cancel_stale_lock(engine: Engine, scope: str, log: TextIO) -> bool:
    """Take away the lock of an engine that is dead; tells whether there was one.

    Raises:
        EngineError: the lock's engine lives.
    """
    locks = [
        lock for lock in engine.folder.pulumi_backend.glob(".pulumi/locks/**/*.json") if _is_of(lock, engine, scope)
    ]
    for lock in locks:
        holder = _holder(lock)
        if holder is not None:
            way = f"wait for it, or end it: kill {holder.pid}"
            raise EngineError(f"stack {engine.stack(scope)} is being updated by process {holder.pid}: {way}")
    if locks:
        engine.run(["cancel", "--yes", "--stack", engine.stack(scope)], log)
    return bool(locks)


def read_state(engine: Engine, scope: str) -> State:
    exported = json.loads(engine.run(["stack", "export", "--stack", engine.stack(scope)]).stdout)
    deployment: dict[str, Any] = exported.get("deployment") or {}
    resources = deployment.get("resources") or []
    return State(
        resources={
            (resource["type"], resource["id"])
            for resource in resources
            if resource["type"].startswith(PACKAGE) and resource.get("id")
        },
        pending=[operation["type"] for operation in deployment.get("pending_operations") or []],
        provider=next((resource["urn"] for resource in resources if resource["type"] == PROVIDER), ""),
    )


def compare(engine: Engine, scope: str) -> Comparison:
    """The local cloud's inventory of a stack against its state."""
    state = read_state(engine, scope)
    existing = things(engine.environment, engine.stack(scope))
    in_cloud = {(thing.token, thing.id) for thing in existing}
    return Comparison(
        missing=state.resources - in_cloud,
        unknown={thing for thing in existing if not thing.settled and (thing.token, thing.id) not in state.resources},
    )


def _reconcile(engine: Engine, scope: str, difference: Comparison, log: TextIO) -> Changes:
    """Make again what is gone; let the engine delete what its program no longer declares."""
    if difference.missing:
        engine.refresh(scope, log)
    _take_over(engine, scope, difference.unknown, log)
    changes = engine.up(scope, log)
    left = compare(engine, scope)
    if left.missing or left.unknown:
        raise EngineError(f"stack {engine.stack(scope)}: the cloud and the state differ after the update: {left}")
    return changes


def _take_over(engine: Engine, scope: str, unknown: set[Thing], log: TextIO) -> None:
    provider = read_state(engine, scope).provider if unknown else ""
    for thing in sorted(unknown):
        command = ["import", thing.token, _import_name(thing), thing.id, "--provider", f"cloud={provider}"]
        options = ["--generate-code=false", "--protect=false", "--yes", "--skip-preview"]
        engine.run([*command, *options, "--stack", engine.stack(scope)], log)


def _import_name(thing: Thing) -> str:
    """A name that no program declares, so that the next update deletes the thing."""
    return f"left-over-{thing.id}".replace(":", "-")


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True


def _is_of(lock: Path, engine: Engine, scope: str) -> bool:
    return unquote(lock.parent.name) == engine.stack(scope)


def _holder(lock: Path) -> psutil.Process | None:
    """The engine that wrote the lock, if it lives. A number that went to another program since is not it."""
    try:
        process = psutil.Process(json.loads(lock.read_text())["pid"])
        alive = process.name().startswith("pulumi") and process.create_time() <= lock.stat().st_mtime
        return process if alive and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.NoSuchProcess, ValueError, KeyError, FileNotFoundError):
        return None
