"""Listeners of a balancer, and the rules by which each forwards."""

from __future__ import annotations

import re

from infra.local.cloud.errors import CloudError
from infra.local.cloud.kind import Kind
from infra.local.cloud.records import Record
from infra.local.cloud.specs.balancers import (
    CONDITIONS,
    FINAL_ACTIONS,
    LISTENER_PRIORITIES,
    TIMEOUTS,
    ListenerRuleSpec,
    ListenerSpec,
)
from infra.local.cloud.specs.forms import PORTS


class Listeners(Kind[ListenerSpec]):
    name = "Listener"
    prefix = "lsn"
    spec_type = ListenerSpec
    not_found = "ResourceNotFound.Listener"

    def physical(self, spec: ListenerSpec) -> str:
        return f"{spec.load_balancer_id}:{spec.port}"

    def check(self, record: Record[ListenerSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if spec.protocol not in ("HTTP", "HTTPS") or spec.port not in PORTS:
            raise CloudError("IllegalParam.ListenerProtocol", f"listener {owner}: {spec.protocol!r} port {spec.port}")
        if (spec.protocol == "HTTPS") != bool(spec.certificate_ids):
            message = f"listener {owner}: HTTPS needs a certificate, HTTP takes none"
            raise CloudError("IllegalParam.Certificates", message)
        if not spec.default_server_group_id:
            raise CloudError("IllegalParam.DefaultActions", f"listener {owner}: forwards to no server group")
        if spec.idle_timeout not in TIMEOUTS or spec.request_timeout not in TIMEOUTS:
            raise CloudError("IllegalParam.Timeout", f"listener {owner}: time-outs are {TIMEOUTS} s")
        others = [listener for listener in self.list() if listener.spec.load_balancer_id == spec.load_balancer_id]
        if len(others) >= 50 and record.id not in {listener.id for listener in others}:
            raise CloudError("QuotaExceeded.ListenersNum", f"listener {owner}: the balancer has 50, the quota")

    def after_change(self, record: Record[ListenerSpec]) -> None:
        self.context.renew_balancers()


class ListenerRules(Kind[ListenerRuleSpec]):
    name = "ListenerRule"
    prefix = "rule"
    spec_type = ListenerRuleSpec
    not_found = "ResourceNotFound.Rule"

    def physical(self, spec: ListenerRuleSpec) -> str:
        return f"{spec.listener_id}:{spec.priority}"

    def further_targets(self, spec: ListenerRuleSpec) -> tuple[str, ...]:
        return (spec.action.server_group_id,) if spec.action.server_group_id else ()

    def check(self, record: Record[ListenerRuleSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if spec.priority not in LISTENER_PRIORITIES or len(spec.conditions) not in CONDITIONS:
            raise CloudError(
                "IllegalParam.Rule", f"rule {owner}: priority {LISTENER_PRIORITIES}, {CONDITIONS} conditions"
            )
        for condition in spec.conditions:
            if condition.type not in ("Host", "Path"):
                raise CloudError("IllegalParam.ConditionType", f"rule {owner}: condition {condition.type!r}")
            if any(re.search(r"[\s\"'{}]", value) or not value for value in condition.values):
                raise CloudError("IllegalParam.ConditionValue", f"rule {owner}: {', '.join(condition.values)}")
        if spec.action.type not in FINAL_ACTIONS:
            raise CloudError("IllegalParam.ActionType", f"rule {owner}: action {spec.action.type!r}")
        listener = self.context.require_kind("Listener", spec.listener_id, f"rule {owner}")
        if self._others(listener.spec.load_balancer_id, record.id) >= 100:
            raise CloudError("QuotaExceeded.RulesNum", f"rule {owner}: the balancer has 100, the quota")

    def _others(self, balancer: str, mine: str) -> int:
        listeners = {
            listener.id for listener in self.store.of_kind("Listener") if listener.spec.load_balancer_id == balancer
        }
        return sum(rule.spec.listener_id in listeners and rule.id != mine for rule in self.list())

    def after_change(self, record: Record[ListenerRuleSpec]) -> None:
        self.context.renew_balancers()
