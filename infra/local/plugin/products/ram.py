"""Users, their policies and keys."""

from __future__ import annotations

from infra.local.cloud.specs.buckets import (
    KEY_STATES,
    MOST_POLICY_BYTES,
    POLICY_NAME,
    USER_NAME,
    AccessKeySpec,
    PolicyAttachmentSpec,
    PolicySpec,
    UserSpec,
    policy_fault,
    policy_size_fault,
)
from infra.local.plugin.rules import ClassRules, form, on, one_of, text
from infra.local.plugin.shapes import KeptClass, RealClass

USER = "alicloud:ram/user:User"
POLICY = "alicloud:ram/policy:Policy"
ATTACHMENT = "alicloud:ram/userPolicyAttachment:UserPolicyAttachment"
ACCESS_KEY = "alicloud:ram/accessKey:AccessKey"
LOGIN = "alicloud:ram/loginProfile:LoginProfile"
GROUP_MEMBERSHIP = "alicloud:ram/groupMembership:GroupMembership"
ROLE_ATTACHMENT = "alicloud:ram/roleAttachment:RoleAttachment"


RULES = {
    USER: ClassRules(
        USER,
        rules=(
            form("name", "[P] ram_user", USER_NAME),
            text("comments", "[P] ram_user", longest=128, says="up to 128 characters"),
            text("displayName", "[P] ram_user", longest=128, says="up to 128 characters"),
        ),
    ),
    POLICY: ClassRules(
        POLICY,
        rules=(
            form("policyName", "[P] ram_policy", POLICY_NAME),
            on(
                "policyDocument",
                f"at most {MOST_POLICY_BYTES} bytes",
                "[P] ram_policy; [A 28753]",
                policy_size_fault,
            ),
            on(
                "policyDocument",
                "JSON, statements with effect, action, resource",
                "[P] ram_policy; [A 28753]",
                policy_fault,
            ),
            text("description", "[P] ram_policy", longest=1024, says="up to 1024 characters"),
            one_of("rotateStrategy", "[P] ram_policy", "None", "DeleteOldestNonDefaultVersionWhenLimitExceeded"),
        ),
        replace=frozenset({"name"}),
        replace_source="[S] resource_alicloud_ram_policy.go",
    ),
    ATTACHMENT: ClassRules(
        ATTACHMENT,
        rules=(one_of("policyType", "[P] ram_user_policy_attachment", "Custom", "System"),),
        replace_source="[S] resource_alicloud_ram_user_policy_attachment.go",
    ),
    ACCESS_KEY: ClassRules(
        ACCESS_KEY,
        rules=(one_of("status", "[P] ram_access_key", *KEY_STATES),),
        replace=frozenset({"pgpKey", "secretFile"}),
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
        UserSpec,
        {"name": "name", "displayName": "display_name", "comments": "comments", "tags": "tags"},
        id_of=lambda record: str(record.attributes.get("user_id", record.id)),
    ),
    POLICY: RealClass(
        PolicySpec,
        {"policyName": "name", "policyDocument": "document", "description": "description", "tags": "tags"},
        outputs=lambda record: {"type": "Custom", "defaultVersion": "v1", "versionId": "v1"},
        id_of=lambda record: str(record.spec.name),
    ),
    ATTACHMENT: RealClass(
        PolicyAttachmentSpec,
        {"userName": "user_name", "policyName": "policy_name", "policyType": "policy_type"},
        id_of=lambda record: f"user:{record.spec.policy_name}:{record.spec.policy_type}:{record.spec.user_name}",
    ),
    ACCESS_KEY: RealClass(
        AccessKeySpec,
        {"userName": "user_name", "status": "status"},
        outputs=lambda record: {"secret": record.attributes.get("secret_access_key")},
        id_of=lambda record: str(record.attributes.get("access_key_id", record.id)),
    ),
}
