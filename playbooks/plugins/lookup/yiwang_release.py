"""The release of services and exporters as they lie in this clone: its version, archive and tree on the controller."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from tools.release import SOURCE, ReleaseError, build

DOCUMENTATION = r"""
name: yiwang_release
short_description: Build the release, or find it built
description: The answer is C({"version":…,"archive":…,"tree":…}); see C(tools/release.py).
author: yiwang
options:
  source:
    description: Folder that holds C(services) and C(monitoring) instead of this clone; for tests.
    env: [{name: YIWANG_RELEASE_SOURCE}]
    type: path
"""


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[dict[str, str]]:
        self.set_options(var_options=variables, direct=options)
        source = self.get_option("source")
        try:
            return [asdict(build(Path(source) if source else SOURCE))]
        except ReleaseError as error:
            raise AnsibleLookupError(str(error)) from error
