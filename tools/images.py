"""The machine made ready for environments: the engine's command and the object store, and the images of its cloud."""

from __future__ import annotations

from infra.folder import cache
from infra.local.images.build import build_images, images_are_current
from tools import machine
from tools.stages import Stage


def prepare_machine(stage: Stage) -> None:
    """Brings the machine to where an environment can start."""
    done = machine.prepare(stage.log)
    if not images_are_current(cache()):
        build_images(cache(), lambda line: print(line, file=stage.log))
        done.append("images")
    stage.say(", ".join(done) or "all there", changed=bool(done))
