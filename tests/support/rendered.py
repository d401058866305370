"""The stacks of an environment that is only rendered: what their programs export, without a cloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.outputs import EnvironmentOutputs, merge
from infra.render import Rendering, render
from tests.support.finished import Finished

SCOPES = ("foundation", "cell-core", "cell-a", "zhejiang", "hangzhou")


def rendered_stacks(home: Path) -> dict[str, Rendering]:
    """By scope, each after those that it reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YIWANG_HOME", str(home))
        made: dict[str, Rendering] = {}
        for scope in SCOPES:
            former_outputs = {rendering.stack.reference: rendering.outputs for rendering in made.values()}
            made[scope] = render(f"test-render.{scope}", Finished, former_outputs)
    return made


def merged_outputs(stacks: dict[str, Rendering]) -> EnvironmentOutputs:
    return merge("test-render", [rendering.outputs["contract"] for rendering in stacks.values()])
