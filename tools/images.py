"""The machine made ready for environments: the engine's command and the object store, and the images of its cloud.

What computes and what waits for a mirror go side by side: programs are compiled while images are made. Only the last
image needs one of the programs, so that is compiled first.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from infra.folder import cache
from infra.local.images.build import build_images, missing_images
from tools import machine
from tools.machine import PULUMI_VERSION, VERSITYGW_VERSION
from tools.stages import Stage


def prepare_machine(stage: Stage) -> None:
    """Brings the machine to where an environment can start; says how long each part took.

    Raises:
        StageError, ImageError: a program or an image could not be built.
    """
    settled = machine.settle()
    engine, object_store = machine.lacks_engine(), machine.lacks_object_store()
    images = [] if object_store else missing_images(cache())
    stage.parts_left = engine + object_store + (len(images) or 3 * object_store)
    with ThreadPoolExecutor(2) as side_by_side:
        store: Future[None] = Future()
        programs = side_by_side.submit(_programs, stage, engine, object_store, store)
        side_by_side.submit(_images, stage, store).result()
        programs.result()
    parts = [f"{title} ({seconds:.0f} s)" for title, seconds in stage.seconds_by_part.items()]
    stage.say(", ".join([*settled, *parts]) or "all there", changed=bool(settled or parts))


def _programs(stage: Stage, engine: bool, object_store: bool, store: Future[None]) -> None:
    """Compiles what is missing; `store` is done as soon as the object store is there, or cannot be."""
    try:
        if object_store:
            with stage.part(f"object store {VERSITYGW_VERSION}"):
                machine.build_object_store(stage.log)
        store.set_result(None)
    except BaseException as error:
        store.set_exception(error)
        raise
    if engine:
        with stage.part(f"engine {PULUMI_VERSION}"):
            machine.build_engine(stage.log)


def _images(stage: Stage, store: Future[None]) -> None:
    build_images(cache(), lambda line: print(line, file=stage.log), stage.part, store.result)
