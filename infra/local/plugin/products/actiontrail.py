"""The audit trail of the account."""

from __future__ import annotations

from infra.local.plugin.binding import Creation
from infra.local.plugin.rules import ClassRules, Failure, one_of, text, whole
from infra.local.plugin.shapes import KeptClass
from infra.local.plugin.values import Values

TRAIL = "alicloud:actiontrail/trail:Trail"
OLD = "alicloud:actiontrail/trailDeprecated:TrailDeprecated"
PAGE = "[P] actiontrail_trail"


def _trail_id(creation: Creation, inputs: Values) -> str:
    return str(inputs.get("trailName") or inputs.get("name"))


def _trail(id: str, inputs: Values) -> Values:
    # A trail made by the API stays off until somebody starts it [A].
    return {"status": inputs.get("status", "Fresh"), "createTime": "2026-01-01T00:00:00Z"}


def _somewhere(inputs: Values) -> Failure | None:
    if inputs.get("ossBucketName") is None and inputs.get("slsProjectArn") is None:
        return Failure("slsProjectArn", "is required where ossBucketName is not given: events must go somewhere")
    return None


RULES = {
    TRAIL: ClassRules(
        TRAIL,
        rules=(
            text(
                "trailName",
                PAGE,
                pattern=r"[a-z][A-Za-z0-9_-]*",
                shortest=6,
                longest=36,
                says="6 to 36 letters, digits, hyphens and underscores, beginning with a lower-case letter",
            ),
            one_of("eventRw", PAGE, "All", "Read", "Write"),
            one_of("status", PAGE, "Enable", "Disable"),
            whole("ossBucketName or slsProjectArn", PAGE, _somewhere),
        ),
        replace=frozenset({"trailName", "name", "isOrganizationTrail"}),
        replace_source="[S] resource_alicloud_actiontrail_trail.go",
    ),
    OLD: ClassRules(OLD, refused="is retired: use actiontrail.Trail [D]"),
}
CLASSES = {TRAIL: KeptClass(make_id=_trail_id, compute=_trail)}
