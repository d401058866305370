"""`yiwang` on production where there is none: `python -m tests.support.production onboard prod 330127`.

The engine's command is whatever `pulumi` the PATH has; services, hosts and playbooks are made up. Nothing of the local
cloud can be loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

NEVER = "infra.local"


class NothingLocal(MetaPathFinder):
    """Refuses to find what belongs to the local cloud."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == NEVER or name.startswith(f"{NEVER}."):
            raise AssertionError(f"a command on production loads {name}")


class Site:
    """Identity without anybody, and sites that offer something."""

    def invitations(self, tenant: str) -> dict[str, Any]:
        return {"administrators": 0, "open": []}

    def invite(self, tenant: str, name: str, department: str) -> dict[str, str]:
        return {"id": tenant, "link": f"https://id/{tenant}", "expires_at": "2026-12-02T11:00:00Z"}

    def items(self, url: str) -> list[dict[str, Any]]:
        return [{"code": "marriage"}]

    def close(self) -> None:
        pass


def main() -> None:
    sys.meta_path.insert(0, NothingLocal())
    from tools import cli, native, seeding
    from tools.commands import invitations
    from tools.deployment import Recap
    from tools.verbs import onboard, resize, up

    def play(_: Any, playbook: str, log: Any, *options: str, **extra: str) -> Recap:
        print(f"played {playbook} {' '.join([*options, *extra.values()])}".strip(), flush=True)
        return Recap({})

    made_up: dict[Any, dict[str, Any]] = {
        native: {"play": play, "unreached": lambda *_: []},
        onboard: {"operator_of": lambda *_: Site()},
        invitations: {"operator_of": lambda *_: Site()},
        seeding: {"operator_of": lambda *_: Site(), "smoke": lambda *_: "it answers"},
        resize: {"await_sight": lambda _: "all in sight"},
        up: {"await_sight": lambda _: "all in sight"},
    }
    for module, values in made_up.items():
        for name, value in values.items():
            assert hasattr(module, name), name
            setattr(module, name, value)
    cli.main()


if __name__ == "__main__":
    main()
