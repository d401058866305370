"""Data sources. The few that a program needs before it declares anything; the rest are refused by name."""

from __future__ import annotations

from collections.abc import Callable

from infra.local.plugin.binding import Refused
from infra.local.plugin.values import Values

ACCOUNT = "1000000000000001"
ZONES = ("h", "i", "j", "k")


def _zones(arguments: Values, settings: Values) -> Values:
    region = str(settings.get("region") or "cn-hangzhou")
    ids = [f"{region}-{letter}" for letter in ZONES]
    return {"id": region, "ids": ids, "zones": [{"id": id, "localName": id} for id in ids]}


def _regions(arguments: Values, settings: Values) -> Values:
    region = str(settings.get("region") or "cn-hangzhou")
    return {"id": region, "ids": [region], "regions": [{"id": region, "regionId": region, "localName": region}]}


def _account(arguments: Values, settings: Values) -> Values:
    return {"id": ACCOUNT}


def _caller(arguments: Values, settings: Values) -> Values:
    return {"id": ACCOUNT, "accountId": ACCOUNT, "arn": f"acs:ram::{ACCOUNT}:root", "identityType": "Account"}


SOURCES: dict[str, Callable[[Values, Values], Values]] = {
    "alicloud:index/getZones:getZones": _zones,
    "alicloud:index/getRegions:getRegions": _regions,
    "alicloud:index/getAccount:getAccount": _account,
    "alicloud:index/getCallerIdentity:getCallerIdentity": _caller,
}


def invoke(token: str, arguments: Values, settings: Values) -> Values:
    if token not in SOURCES:
        names = ", ".join(sorted(name.rpartition(":")[2] for name in SOURCES))
        raise Refused(
            "Unsupported",
            f"the local edition has no data source {token} (it has {names}); pass the value as a setting instead",
        )
    return SOURCES[token](arguments, settings)
