"""The engine's protocol without the rest of the SDK, whose import alone would double the plugin's start."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path


def spare_the_sdk() -> None:
    """Let `pulumi.runtime.proto` be imported without `pulumi` itself. For a process that is nothing but a plugin."""
    if "pulumi" in sys.modules:
        return
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.origin is None:
        raise RuntimeError("the pulumi SDK is not installed beside the local provider; run `make up`")
    folder = Path(spec.origin).parent
    for name, path in (("pulumi", folder), ("pulumi.runtime", folder / "runtime")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
