"""Loading the playbooks' plugins in tests: Ansible finds them by folder, they are in no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import ansible.module_utils

PLUGINS = Path(__file__).resolve().parents[2] / "playbooks" / "plugins"


def load(kind: str, name: str) -> ModuleType:
    """The plugin `playbooks/plugins/<kind>/<name>.py` as a module."""
    utilities = str(PLUGINS / "module_utils")
    if utilities not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(utilities)
    specification = importlib.util.spec_from_file_location(f"yiwang_{kind}_{name}", PLUGINS / kind / f"{name}.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    # dataclasses look their module up by name
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module
