"""The bastion: kept alone. Locally the machine itself is the way in to the hosts."""

from __future__ import annotations

from infra.local.plugin.rules import ClassRules, one_of, text
from infra.local.plugin.shapes import KeptClass

INSTANCE = "alicloud:bastionhost/instance:Instance"
PAGE = "[P] bastionhost_instance"
RULES = {
    INSTANCE: ClassRules(
        INSTANCE,
        rules=(
            text("description", PAGE, shortest=1, longest=63, says="1 to 63 characters"),
            one_of("planCode", PAGE, "cloudbastion", "cloudbastion_ha"),
        ),
        replace=frozenset({"planCode", "vswitchId"}),
        replace_source="[S] resource_alicloud_bastionhost_instance.go",
    )
}
CLASSES = {INSTANCE: KeptClass(make_id=lambda creation, _: creation.fresh("bastionhost-cn-", 12))}
