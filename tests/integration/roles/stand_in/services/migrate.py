"""Stands in for `services.migrate`: the same input and output, one table for each module."""

from __future__ import annotations

import json
import sys

import pg8000.native


def migrate(target: dict[str, str], check: bool) -> dict[str, object]:
    connection = pg8000.native.Connection(
        target["user"], host=target["host"], port=int(target["port"]), database=target["database"],
        password=target["password"],
    )  # fmt: skip
    try:
        module, role = target["module"], target["application_role"]
        present = connection.run("SELECT to_regclass(:table)", table=f"{module}.notes")[0][0] is not None
        if not present and not check:
            connection.run("BEGIN")
            connection.run(f"CREATE SCHEMA {module}")
            connection.run(f"CREATE TABLE {module}.notes (note text)")
            connection.run(f"INSERT INTO {module}.notes VALUES ('of ' || current_database())")
            connection.run(f"GRANT USAGE ON SCHEMA {module} TO {role}")
            connection.run(f"GRANT SELECT, INSERT ON {module}.notes TO {role}")
            connection.run("COMMIT")
        return {"database": target["database"], "module": module, "from": None, "to": "1", "changed": not present}
    finally:
        connection.close()


if __name__ == "__main__":
    for wanted in json.load(sys.stdin):
        print(json.dumps(migrate(wanted, "--check" in sys.argv)), flush=True)
