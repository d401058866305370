"""Resource groups."""

from __future__ import annotations

from infra.local.plugin.invokes import ACCOUNT
from infra.local.plugin.rules import ClassRules, tags, text
from infra.local.plugin.shapes import KeptClass
from infra.local.plugin.values import Values

GROUP = "alicloud:resourcemanager/resourceGroup:ResourceGroup"
PAGE = "[P] resource_manager_resource_group"


def _group(id: str, inputs: Values) -> Values:
    return {"accountId": ACCOUNT, "status": "OK", "regionStatuses": []}


RULES = {
    GROUP: ClassRules(
        GROUP,
        rules=(
            text("displayName", PAGE, shortest=1, longest=50, says="1 to 50 characters"),
            text(
                "resourceGroupName",
                PAGE,
                pattern=r"[A-Za-z0-9_-]+",
                shortest=3,
                longest=50,
                says="3 to 50 letters, digits, hyphens and underscores",
            ),
            tags(PAGE),
        ),
        replace=frozenset({"name", "resourceGroupName"}),
        replace_source="[S] resource_alicloud_resource_manager_resource_group.go",
    )
}
CLASSES = {
    GROUP: KeptClass(
        make_id=lambda creation, _: creation.fresh("rg-acfm", 11),
        compute=_group,
        named=lambda inputs: str(inputs.get("resourceGroupName") or inputs.get("name")),
    )
}
