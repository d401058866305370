"""A province in one small process for load runs: it answers as the services do, or in a way that a test asks for.

`python -m tests.integration.load_province PORT`. Each path begins with a tenant's code, `id` or `query`, in the place
of their sites. `POST /faults` sets what goes wrong, by operation: `wrong`, `limited`, `broken` or `slow`; with
`stall_seconds` nothing is answered for so long from the tenth search on.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from loadtests.rehearsal import Kit, KitItem, KitPerson, KitTenant
from services.affairs.numbers import case_number

ITEM = "XK-SPJY"
NAME = "食品经营许可"
SLOW_SECONDS = 0.4
STALLS_AT = 10
PLACES = {
    "330000": ("浙江省", "province", None),
    "330100": ("杭州市", "city", "330000"),
    "330106": ("西湖区", "county", "330100"),
}


def kit(port: int, citizens: int = 8) -> Kit:
    base = f"http://127.0.0.1:{port}"
    tenants = [
        KitTenant(
            code=code,
            name=name,
            level=level,
            parent=parent,
            residents=1000,
            cell="cell-a",
            url=f"{base}/{code}",
            client_secret="secret",
            items=[KitItem(code=ITEM, name=NAME)],
        )
        for code, (name, level, parent) in PLACES.items()
    ]
    return Kit(
        environment="test-load",
        run="abc",
        issuer=f"{base}/id",
        query=f"{base}/query",
        ca_file=None,
        tenants=tenants,
        citizens=[_person(f"abc-{number}") for number in range(citizens)],
        clerks={code: _person(f"abc-clerk-{code}") for code in PLACES},
    )


def _person(suffix: str) -> KitPerson:
    return KitPerson(username=f"rehearsal-{suffix}", password="a good password", name=f"演练{suffix}")


@dataclass
class Province:
    faults: dict[str, str] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    token_seconds: int = 600
    stall_seconds: float = 0.0
    stall_until: float = 0.0

    async def fault(self, operation: str) -> Response | None:
        self.seen[operation] += 1
        if self.stall_seconds and self.seen["search"] == STALLS_AT:
            self.stall_until, self.stall_seconds = time.monotonic() + self.stall_seconds, 0.0
        await asyncio.sleep(max(self.stall_until - time.monotonic(), 0))
        match self.faults.get(operation):
            case "limited":
                return JSONResponse({"type": "urn:yiwang:limited"}, 429)
            case "broken":
                return JSONResponse({"type": "urn:yiwang:broken"}, 503)
            case "wrong":
                return JSONResponse({"items": [], "surprise": True}, 201 if operation == "file" else 200)
            case "slow":
                await asyncio.sleep(SLOW_SECONDS)
        return None


PROVINCE = Province()


async def control(request: Request) -> Response:
    told = await request.json()
    PROVINCE.faults = told.get("faults", {})
    PROVINCE.token_seconds = told.get("token_seconds", 600)
    PROVINCE.stall_seconds = told.get("stall_seconds", 0.0)
    PROVINCE.seen.clear()
    return JSONResponse({})


async def seen(_: Request) -> Response:
    return JSONResponse(dict(PROVINCE.seen))


# ---- identity ----


def secret_of(login: str) -> str:
    """A code or token that says whose it is."""
    return f"{login}.{secrets.token_hex(8)}"


async def authorize(request: Request) -> Response:
    if "session" not in request.cookies:
        return RedirectResponse(f"/login?{urlencode({'next': f'/authorize?{request.url.query}'})}", 303)
    wish = dict(request.query_params)
    back = urlencode({"code": secret_of(request.cookies["session"]), "state": wish["state"]})
    return RedirectResponse(f"{wish['redirect_uri']}?{back}", 302)


async def log_in_page(request: Request) -> Response:
    if (fault := await PROVINCE.fault("log-in")) is not None:
        return fault
    onward = request.query_params["next"].replace("&", "&amp;")
    page = f'<input type="hidden" name="csrf" value="1"><input type="hidden" name="next" value="{onward}">'
    return HTMLResponse(page)


async def log_in(request: Request) -> Response:
    form = dict(parse_qsl((await request.body()).decode()))
    if form["password"] != "a good password":
        return HTMLResponse("", 401)
    answer = RedirectResponse(form["next"], 303)
    answer.set_cookie("session", form["login"])
    return answer


async def token(request: Request) -> Response:
    form = parse_qs((await request.body()).decode())
    if form["grant_type"] == ["refresh_token"] and (fault := await PROVINCE.fault("refresh")) is not None:
        return fault
    login = (form.get("code") or form["refresh_token"])[0].partition(".")[0]
    life = PROVINCE.token_seconds
    return JSONResponse({"access_token": secret_of(login), "refresh_token": secret_of(login), "expires_in": life})


# ---- affairs and query ----


def an_item() -> dict[str, Any]:
    return {
        "code": ITEM, "version": 1, "name": NAME, "kind": "行政许可", "basis": "《食品安全法》",
        "levels": ["province", "city", "county"], "department": "", "legal_working_days": 20,
        "promised_working_days": 7, "standard_promised_working_days": 7, "materials": [], "materials_note": "",
        "fields": [{"name": "place_name", "label": "名称"}], "fee": "", "fee_note": "", "offered": True,
    }  # fmt: skip


async def search(_: Request) -> Response:
    return await PROVINCE.fault("search") or JSONResponse({"items": [an_item()]})


async def item(_: Request) -> Response:
    return await PROVINCE.fault("item") or JSONResponse(an_item())


async def file(request: Request) -> Response:
    if (fault := await PROVINCE.fault("file")) is not None:
        return fault
    body, code = await request.json(), request.path_params["tenant"]
    number, now = case_number(code, date.today(), len(PROVINCE.cases)), datetime.now(UTC).isoformat()
    PROVINCE.cases[number] = {
        "number": number, "version": 1, "status": "filed", "holder": code, "in_transit_to": None, "path": [code],
        "item": body["item"], "item_name": NAME, "applicant_name": body["applicant"]["name"],
        "applicant_phone": "1", "form": body["form"], "filed_at": now, "changed_at": now, "accept_by": "2030-01-01",
        "due": None, "due_provisional": False, "outcome": None, "materials": [], "applicant": "somebody",
        "steps": [{"version": 1, "tenant": code, "status": "filed", "at": now}], "check_code_hash": "0" * 64,
    }  # fmt: skip
    receipt = {"number": number, "check_code": "A" * 12, "status": "filed", "filed_at": now, "duplicate": False}
    return JSONResponse(receipt, 201)


async def show(request: Request) -> Response:
    case = PROVINCE.cases[request.path_params["number"]]
    here = case["holder"] == request.path_params["tenant"]
    opened = {"filed": ["acceptance"], "accepted": ["hand-over", "outcome"]}.get(case["status"], [])
    trace = {
        "at": case["filed_at"], "action": "filed", "actor_name": "", "department": "", "basis": "", "details": "",
        "seconds_since_change": 0,
    }  # fmt: skip
    clerk = "-clerk-" in request.headers["Authorization"]
    if (fault := await PROVINCE.fault("take" if clerk else "case")) is not None:
        return fault
    return JSONResponse(case | {"traces": [trace] if clerk else [], "actions": opened if clerk and here else []})


NOTHING_WAITS = dict.fromkeys(("filed", "accepted", "moved", "due_soon", "overdue"), 0)


async def desk(_: Request) -> Response:
    return await PROVINCE.fault("desk") or JSONResponse({"cases": [], "next": None, "figures": NOTHING_WAITS})


async def act(request: Request) -> Response:
    action, number, body = request.path_params["action"], request.path_params["number"], await request.json()
    step = {"acceptance": "accept", "hand-over": "hand-over", "outcome": "finish"}[action]
    if (fault := await PROVINCE.fault(step)) is not None:
        return fault
    case = PROVINCE.cases[number]
    answer = dict(case)
    if action == "acceptance":
        case |= {"status": "accepted", "due": "2030-01-01"}
        answer = case
    elif action == "hand-over":
        answer = case | {"status": "in_transit", "in_transit_to": body["to"]}
        case |= {"holder": body["to"]}
    else:
        case |= {"status": "granted", "outcome": body}
        answer = case
    return JSONResponse(answer)


async def my_cases(_: Request) -> Response:
    return await PROVINCE.fault("query") or JSONResponse({"cases": [], "next": None})


application = Starlette(
    routes=[
        Route("/faults", control, methods=["POST"]),
        Route("/seen", seen),
        Route("/id/authorize", authorize),
        Route("/id/login", log_in_page),
        Route("/id/login", log_in, methods=["POST"]),
        Route("/id/token", token, methods=["POST"]),
        Route("/{tenant}/api/affairs/items", search),
        Route("/{tenant}/api/affairs/items/{code}", item),
        Route("/{tenant}/api/affairs/cases", file, methods=["POST"]),
        Route("/{tenant}/api/affairs/cases/{number}", show),
        Route("/{tenant}/api/affairs/cases/{number}/{action}", act, methods=["POST"]),
        Route("/{tenant}/api/affairs/desk", desk),
        Route("/query/api/query/cases", my_cases),
    ]
)

if __name__ == "__main__":
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
