"""Users, their policies and keys."""

from __future__ import annotations

from infra.local.plugin.binding import KeptClass
from infra.local.plugin.realised import RealClass
from infra.local.plugin.rules import ClassRules, document, one_of, text

USER = "alicloud:ram/user:User"
POLICY = "alicloud:ram/policy:Policy"
ATTACHMENT = "alicloud:ram/userPolicyAttachment:UserPolicyAttachment"
ACCESS_KEY = "alicloud:ram/accessKey:AccessKey"
LOGIN = "alicloud:ram/loginProfile:LoginProfile"
GROUP_MEMBERSHIP = "alicloud:ram/groupMembership:GroupMembership"
ROLE_ATTACHMENT = "alicloud:ram/roleAttachment:RoleAttachment"
MOST_POLICY_BYTES = 6144


RULES = {
    USER: ClassRules(
        USER,
        rules=(
            text(
                "name",
                "[P] ram_user",
                pattern=r"[A-Za-z0-9._@-]+",
                shortest=1,
                longest=64,
                says="1 to 64 letters, digits, dots, hyphens and underscores",
            ),
            text("comments", "[P] ram_user", longest=128, says="up to 128 characters"),
            text("displayName", "[P] ram_user", longest=128, says="up to 128 characters"),
        ),
    ),
    POLICY: ClassRules(
        POLICY,
        rules=(
            text(
                "policyName",
                "[P] ram_policy",
                pattern=r"[A-Za-z0-9-]+",
                shortest=1,
                longest=128,
                says="1 to 128 letters, digits and hyphens",
            ),
            document("policyDocument", "[P] ram_policy; [A 28753]", MOST_POLICY_BYTES),
            text("description", "[P] ram_policy", longest=1024, says="up to 1024 characters"),
            one_of("rotateStrategy", "[P] ram_policy", "None", "DeleteOldestNonDefaultVersionWhenLimitExceeded"),
        ),
        replace=frozenset({"policyName", "name"}),
        replace_source="[S] resource_alicloud_ram_policy.go",
    ),
    ATTACHMENT: ClassRules(
        ATTACHMENT,
        rules=(one_of("policyType", "[P] ram_user_policy_attachment", "Custom", "System"),),
        replace=frozenset({"userName", "policyName", "policyType"}),
        replace_source="[S] resource_alicloud_ram_user_policy_attachment.go",
    ),
    ACCESS_KEY: ClassRules(
        ACCESS_KEY,
        rules=(one_of("status", "[P] ram_access_key", "Active", "Inactive"),),
        replace=frozenset({"userName", "pgpKey", "secretFile"}),
        replace_source="[S] resource_alicloud_ram_access_key.go",
        secrets=frozenset({"secret", "encryptedSecret"}),
    ),
    LOGIN: ClassRules(
        LOGIN,
        replace=frozenset({"userName"}),
        replace_source="[S] resource_alicloud_ram_login_profile.go",
        secrets=frozenset({"password"}),
    ),
    GROUP_MEMBERSHIP: ClassRules(GROUP_MEMBERSHIP, refused="is retired: use ram.UserGroupAttachment [D]"),
    ROLE_ATTACHMENT: ClassRules(ROLE_ATTACHMENT, refused="is retired: use ecs.RamRoleAttachment [D]"),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    LOGIN: KeptClass(make_id=lambda _, inputs: str(inputs["userName"])),
    USER: RealClass(
        "User",
        {"name": "name", "displayName": "display_name", "comments": "comments", "tags": "tags"},
        id_of=lambda record: str(record.attributes.get("user_id", record.id)),
    ),
    POLICY: RealClass(
        "Policy",
        {"policyName": "name", "policyDocument": "document", "description": "description", "tags": "tags"},
        outputs=lambda record: {"type": "Custom", "defaultVersion": "v1", "versionId": "v1"},
        id_of=lambda record: str(record.spec.name),
    ),
    ATTACHMENT: RealClass(
        "PolicyAttachment",
        {"userName": "user_name", "policyName": "policy_name", "policyType": "policy_type"},
        id_of=lambda record: f"user:{record.spec.policy_name}:{record.spec.policy_type}:{record.spec.user_name}",
    ),
    ACCESS_KEY: RealClass(
        "AccessKey",
        {"userName": "user_name", "status": "status"},
        outputs=lambda record: {"secret": record.attributes.get("secret_access_key")},
        id_of=lambda record: str(record.attributes.get("access_key_id", record.id)),
    ),
}
