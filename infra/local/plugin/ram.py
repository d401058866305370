"""Users, their policies and keys."""

from __future__ import annotations

import base64
import hashlib

from infra.local.plugin.binding import Identity, KeptClass
from infra.local.plugin.realised import RealClass
from infra.local.plugin.rules import ClassRules, document, one_of, text
from infra.local.plugin.values import Values

USER = "alicloud:ram/user:User"
POLICY = "alicloud:ram/policy:Policy"
ATTACHMENT = "alicloud:ram/userPolicyAttachment:UserPolicyAttachment"
ACCESS_KEY = "alicloud:ram/accessKey:AccessKey"
LOGIN = "alicloud:ram/loginProfile:LoginProfile"
GROUP_MEMBERSHIP = "alicloud:ram/groupMembership:GroupMembership"
ROLE_ATTACHMENT = "alicloud:ram/roleAttachment:RoleAttachment"
MOST_POLICY_BYTES = 6144
MOST_POLICIES = 1500


def attachment_id(user: object, policy: object, kind: object) -> str:
    return f"user:{policy}:{kind}:{user}"


def _user(id: str, inputs: Values, identity: Identity) -> Values:
    return {}


def _policy(id: str, inputs: Values, identity: Identity) -> Values:
    return {"type": "Custom", "attachmentCount": 0, "defaultVersion": "v1", "versionId": "v1"}


def _access_key(id: str, inputs: Values, identity: Identity) -> Values:
    digest = hashlib.sha256(f"{identity.urn} {id}".encode()).digest()
    return {"secret": base64.b32encode(digest).decode()[:30]}


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
    LOGIN: ClassRules(LOGIN, replace=frozenset({"userName"}), secrets=frozenset({"password"})),
    GROUP_MEMBERSHIP: ClassRules(GROUP_MEMBERSHIP, refused="is retired: use ram.UserGroupAttachment [D]"),
    ROLE_ATTACHMENT: ClassRules(ROLE_ATTACHMENT, refused="is retired: use ecs.RamRoleAttachment [D]"),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    USER: KeptClass(make_id=lambda identity, _: identity.number(18), compute=_user),
    POLICY: KeptClass(make_id=lambda _, i: str(i.get("policyName") or i["name"]), compute=_policy, most=MOST_POLICIES),
    ATTACHMENT: KeptClass(make_id=lambda _, i: attachment_id(i["userName"], i["policyName"], i["policyType"])),
    ACCESS_KEY: KeptClass(make_id=lambda identity, _: identity.fresh("LTAI5t", 18), compute=_access_key),
}
