"""Log projects and their stores."""

from __future__ import annotations

from infra.local.plugin.binding import Creation
from infra.local.plugin.rules import ClassRules, number, one_of, tags, text
from infra.local.plugin.shapes import KeptClass
from infra.local.plugin.values import Values

PROJECT = "alicloud:log/project:Project"
STORE = "alicloud:log/store:Store"


def _project_id(creation: Creation, inputs: Values) -> str:
    return str(inputs.get("projectName") or inputs.get("name"))


def _store_id(creation: Creation, inputs: Values) -> str:
    project, store = (
        inputs.get("projectName") or inputs.get("project"),
        inputs.get("logstoreName") or inputs.get("name"),
    )
    return f"{project}:{store}"


def _project(id: str, inputs: Values) -> Values:
    return {"status": "Normal", "createTime": "2026-01-01 00:00:00"}


def _store(id: str, inputs: Values) -> Values:
    return {"mode": inputs.get("mode", "standard"), "createTime": 1767225600}


RULES = {
    PROJECT: ClassRules(
        PROJECT,
        rules=(
            text(
                "projectName",
                "[P] log_project",
                pattern=r"[a-z0-9][a-z0-9-]*[a-z0-9]",
                shortest=3,
                longest=63,
                says="3 to 63 lower-case letters, digits and hyphens, a letter or digit at each end",
            ),
            tags("[P] log_project"),
        ),
        replace=frozenset({"projectName", "name"}),
        replace_source="[S] resource_alicloud_log_project.go",
    ),
    STORE: ClassRules(
        STORE,
        rules=(
            text(
                "logstoreName",
                "[P] log_store",
                pattern=r"[a-z0-9][a-z0-9_-]*[a-z0-9]",
                shortest=2,
                longest=63,
                says="2 to 63 lower-case letters, digits, hyphens and underscores, a letter or digit at each end",
            ),
            number("retentionPeriod", "[P] log_store", 1, 3650),
            number("shardCount", "[P] log_store", 1, 100),
            number("maxSplitShardCount", "[P] log_store", 1, 256),
            one_of("mode", "[P] log_store", "standard", "query", "lite"),
            one_of("telemetryType", "[P] log_store", "None", "Metrics"),
            one_of("encryptConf.encryptType", "[P] log_store", "default", "m4", "sm4_ecb", "sm4_cbc", "sm4_gcm"),
        ),
        replace=frozenset({"projectName", "project", "logstoreName", "name", "shardCount", "telemetryType"}),
        replace_source="[S] resource_alicloud_log_store.go",
        refers={"projectName": PROJECT, "project": PROJECT},
    ),
}
CLASSES = {
    PROJECT: KeptClass(make_id=_project_id, compute=_project),
    STORE: KeptClass(make_id=_store_id, compute=_store),
}
