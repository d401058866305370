"""Reading what the engine prints."""

from __future__ import annotations

from infra.engine import CHANGE, changed_resources

DIFF = """
  pulumi:pulumi:Stack: (same)
    [urn=urn:pulumi:local.hangzhou::yiwang::pulumi:pulumi:Stack::yiwang-local.hangzhou]
    > pulumi:pulumi:StackReference: (read)
        [urn=urn:pulumi:local.hangzhou::yiwang::pulumi:pulumi:StackReference::cell-a]
    + alicloud:rds/database:Database: (create)
        [urn=urn:pulumi:local.hangzhou::yiwang::yiwang:tenant:Tenant$alicloud:rds/database:Database::t330127-cell-a]
Resources:
    + 12 to create
    171 unchanged
"""


def test_a_diff_names_the_changed_resources_and_not_the_engines_own() -> None:
    assert changed_resources(DIFF) == ["alicloud:rds/database:Database t330127-cell-a"]


def test_changes_are_counted_by_kind() -> None:
    assert CHANGE.findall(DIFF) == [("12", "create")]
