"""A clerk: looks at the desk, takes a case, accepts it, hands it over to the parent where there is one, and finishes.

What was handed over is finished at the parent by the clerk there, once it has arrived: by the next clerk's journey
that comes by, since handing over takes the network a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from loadtests.cases import HandedOver, OpenCase, OpenCases
from loadtests.companions import Companions
from loadtests.journeys.citizen import walk as citizen
from loadtests.rehearsal import KitTenant
from loadtests.visit import Visit, expect
from services.affairs.schema import CaseView, Desk, Snapshot

WORDS = "演练：准予许可"
REASON = "演练：按权限办理"


def walk(companions: Companions, tenant: KitTenant) -> None:
    """The steps at the tenant, or at another one where a case waits; then, by the clerk there, what has arrived at a
    parent."""
    share, cases, tenants = companions.share, companions.cases, companions.tenants
    place = cases.place(tenant.code)
    if place is None:
        case = file_one(companions, tenant)
    else:
        tenant, case = tenants[place], cases.take(place)
    visit = companions.clerk(tenant.code)
    if share.log_in == "each":
        visit.log_in(tenant, keep=False)
    arrived = work_on(visit, tenant, case, cases, tenants, share.without)
    if arrived is not None:
        finish_arrived(companions.clerk(arrived.tenant), arrived, cases, tenants)


def file_one(companions: Companions, tenant: KitTenant) -> OpenCase:
    """No case waits: a citizen files one just now, so that the clerk's journey is a whole one."""
    visit = companions.citizen()
    item = citizen.show_item(visit, tenant, companions.draw.choice(tenant.items))
    return citizen.file(visit, tenant, item)[0]


def work_on(
    visit: Visit,
    tenant: KitTenant,
    case: OpenCase,
    cases: OpenCases,
    tenants: Mapping[str, KitTenant],
    without: Collection[str],
) -> HandedOver | None:
    """Gives a case that has arrived at a parent, for the clerk there to finish."""
    if "desk" not in without:
        show_desk(visit, tenant)
    if "take" not in without:
        take(visit, tenant, case)
    accept(visit, tenant, case)
    parent = tenants.get(tenant.parent or "")
    if parent is not None and "hand-over" not in without:
        hand_over(visit, tenant, parent, case)
        cases.hand_over(parent.code, case)
        return cases.arrived() if "finish" not in without else None
    if "finish" not in without:
        finish(visit, tenant, case)
    return None


def finish_arrived(visit: Visit, handed_over: HandedOver, cases: OpenCases, tenants: Mapping[str, KitTenant]) -> None:
    """At the parent: a clerk acts on a case that they see. One that stays away too long is lost."""
    tenant = tenants[handed_over.tenant]
    url = f"{tenant.url}/api/affairs/cases/{handed_over.case.number}"
    view = visit.step("take", tenant, "GET", url, CaseView, lambda view: _is_case(view, handed_over.case), absent=True)
    if view is not None and "outcome" in view.actions:
        finish(visit, tenant, handed_over.case)
    elif handed_over.lost(cases.clock()):
        visit.fail(
            "finish", tenant, f"a case handed over {cases.clock() - handed_over.sent_at:.0f} s ago has not arrived"
        )
    else:
        cases.look_again(handed_over)


def show_desk(visit: Visit, tenant: KitTenant) -> None:
    def check(desk: Desk) -> None:
        for case in desk.cases:
            expect(case.status == "filed" and case.holder == tenant.code, f"a case {case.status} at {case.holder}")

    visit.step("desk", tenant, "GET", f"{tenant.url}/api/affairs/desk?status=filed", Desk, check)


def take(visit: Visit, tenant: KitTenant, case: OpenCase) -> None:
    def check(view: CaseView) -> None:
        _is_case(view, case)
        expect(view.status == "filed" and view.holder == tenant.code, f"{view.status} at {view.holder}")
        expect("acceptance" in view.actions, "cannot be accepted")
        expect(bool(view.traces) and view.traces[0].action == "filed", "no trace of the filing")

    visit.step("take", tenant, "GET", f"{tenant.url}/api/affairs/cases/{case.number}", CaseView, check)


def accept(visit: Visit, tenant: KitTenant, case: OpenCase) -> None:
    def check(now: Snapshot) -> None:
        _moved(now, case, "accepted", tenant)
        expect(now.due is not None, "accepted without a time limit")

    _act(visit, "accept", tenant, case, "acceptance", {"accepted": True}, check)


def hand_over(visit: Visit, tenant: KitTenant, parent: KitTenant, case: OpenCase) -> None:
    def check(now: Snapshot) -> None:
        _moved(now, case, "in_transit", tenant)
        expect(now.in_transit_to == parent.code, f"on its way to {now.in_transit_to}")

    _act(visit, "hand-over", tenant, case, "hand-over", {"to": parent.code, "reason": REASON}, check)


def finish(visit: Visit, tenant: KitTenant, case: OpenCase) -> None:
    def check(now: Snapshot) -> None:
        _moved(now, case, "granted", tenant)
        expect(now.outcome is not None and now.outcome.text == WORDS, "not the outcome that was sent")

    _act(visit, "finish", tenant, case, "outcome", {"result": "granted", "text": WORDS}, check)


def _act(
    visit: Visit,
    step: str,
    tenant: KitTenant,
    case: OpenCase,
    action: str,
    body: dict[str, object],
    check: Callable[[Snapshot], None],
) -> None:
    url = f"{tenant.url}/api/affairs/cases/{case.number}/{action}"
    visit.step(step, tenant, "POST", url, Snapshot, check, json=body)


def _is_case(view: CaseView, case: OpenCase) -> None:
    expect(view.number == case.number and view.item == case.item, "another case")
    expect(view.applicant_name == case.applicant_name, "another applicant")


def _moved(now: Snapshot, case: OpenCase, status: str, tenant: KitTenant) -> None:
    expect(now.number == case.number, "another case")
    expect(now.status == status and now.holder == tenant.code, f"{now.status} at {now.holder}, not {status}")
