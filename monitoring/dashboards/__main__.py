"""Prints the dashboards as JSON: all of them, name → dashboard, or the one that is named, ready to import.

python -m monitoring.dashboards [overview|tenants|capacity]
"""

from __future__ import annotations

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring.dashboards import dashboards
from monitoring.objectives import load


def main(arguments: list[str]) -> int:
    made = dashboards(load())
    unknown = [name for name in arguments if name not in made]
    if unknown:
        print(f"{unknown[0]}: no dashboard; there are {', '.join(made)}", file=sys.stderr)
        return 1
    wanted = made[arguments[0]].build() if arguments else {name: dashboard.build() for name, dashboard in made.items()}
    print(json.dumps(wanted, cls=JSONEncoder, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
