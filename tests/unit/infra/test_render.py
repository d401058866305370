from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pulumi.runtime import rpc

from infra.render import SECRET, UNKNOWN, marked


def test_marks_stand_for_what_is_unknown_or_secret() -> None:
    wire = {
        "plain": 5432.0,
        "later": rpc.UNKNOWN,
        "hidden": {rpc._special_sig_key: rpc._special_secret_sig, "value": "hunter2"},
        "inner": [{"hidden": {rpc._special_sig_key: rpc._special_secret_sig, "value": rpc.UNKNOWN}}, rpc.UNKNOWN],
    }
    assert marked(wire) == {
        "plain": 5432,
        "later": UNKNOWN,
        "hidden": SECRET,
        "inner": [{"hidden": SECRET}, UNKNOWN],
    }


def run(stack: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "infra.render", stack], capture_output=True, text=True, check=False)


def test_the_command_prints_a_resource_a_line() -> None:
    lines = [json.loads(line) for line in run("prod.foundation").stdout.splitlines()]
    assert all(set(line) == {"type", "urn", "name", "inputs"} for line in lines)
    network = next(line for line in lines if line["type"] == "alicloud:vpc/network:Network")
    assert network["urn"] == (
        "urn:pulumi:prod.foundation::yiwang::yiwang:infra:Network$alicloud:vpc/network:Network::network-vpc"
    )
    assert network["inputs"]["cidrBlock"] == "10.32.0.0/16"
    assert network["inputs"]["resourceGroupId"] == UNKNOWN


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        ("nonsense", "expected <environment>.<scope>"),
        ("prod.cell-z", "has no settings"),
        ("test-render.cell-z", "cell-z"),
    ],
)
def test_a_wrong_stack_ends_with_one_message(stack: str, said: str) -> None:
    ran = run(stack)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
