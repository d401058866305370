"""Ansible's linear strategy over mitogen, wherever the package is installed: no path in any configuration.

The class must come from `ansible_mitogen` under its own name; a copy loaded by path would exist twice.
"""

from __future__ import annotations

import ansible_mitogen.loaders
import ansible_mitogen.strategy

DOCUMENTATION = r"""
name: mitogen_linear
short_description: The linear strategy with one lasting interpreter on each host
description: Ansible's linear strategy; connections and modules go through mitogen.
author: yiwang
"""


class StrategyModule(  # type: ignore[misc]
    ansible_mitogen.strategy.StrategyMixin,
    ansible_mitogen.loaders.strategy_loader.get("linear", class_only=True),
):
    pass
