"""One way to make a service's application: envelope, errors, health, metrics, start and stop.

`create_app` gives a `Service`, an ASGI application. A request goes through the envelope (request id, tenant,
metrics, access log), then to a lean route where one stands for its method and path, else to FastAPI. A lean
route answers a hot operation without FastAPI's machinery; the same operation is always documented there too.
"""

from __future__ import annotations

import asyncio
import gc
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from itertools import count
from typing import Annotated, Any

import asyncpg
import structlog
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from services.kernel import telemetry
from services.kernel.encoding import decoded, misaddressed
from services.kernel.lean import LeanRoute, header_of
from services.kernel.outages import OUTAGES, dependency_out
from services.kernel.problems import Problem, ProblemDocument, Unavailable
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings
from services.kernel.tenancy import Tenant

log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[bool]]
Lifespan = Callable[[Kernel], AbstractAsyncContextManager[None]]

CHECK_SECONDS = 1.0
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
LARGEST_BODY = 1024 * 1024
WATCHED = frozenset({"/healthz", "/readyz", "/metrics"})
REQUEST_ID = re.compile(rb"[A-Za-z0-9-]{8,64}")
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {"model": ProblemDocument, "description": "An error, as application/problem+json"}
}
UNKEEPABLE = (asyncpg.DataError, asyncpg.UntranslatableCharacterError, asyncpg.exceptions._base.DataError, UnicodeError)

EVERY_ERROR = (Problem, StarletteHTTPException, RequestValidationError, Exception, *UNKEEPABLE, *OUTAGES)
"""Whatever a request may end in, each by the class under which the framework looks for its handler."""


class Service:
    """The ASGI application of one service; `api` is its FastAPI part, `kernel` what it holds."""

    def __init__(
        self, kernel: Kernel, api: FastAPI, lean: Mapping[tuple[str, str], LeanRoute], larger: Mapping[str, int]
    ) -> None:
        self.kernel = kernel
        self.api = api
        self._lean = {key: (f"{key[0]} {key[1]}", route) for key, route in lean.items()}
        self._larger = larger
        self._access = telemetry.AccessLog(kernel.settings.service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.api(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # as GET, of which the head alone is sent
            scope, send = {**scope, "method": "GET"}, _head_of(send)
        if scope["path"] in WATCHED:  # as often as every second, by several hosts: no work of anybody's
            await self._answer(scope, receive, send)
            return
        headers = scope["headers"]
        identifier = _request_id(headers)
        tenant = self.kernel.directory.by_host(header_of(headers, b"host"))
        code = tenant.code if tenant else ""
        telemetry.request_id.set(identifier)
        telemetry.tenant_code.set(code)
        scope["scheme"] = self.kernel.directory.issuer.partition(":")[0]  # behind our own proxies it says http
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                told = message.get("headers", ())
                if status == 405:
                    told = [*(pair for pair in told if pair[0] != b"allow"), (b"allow", self._allowed(scope).encode())]
                message["headers"] = [*told, (b"x-request-id", identifier.encode())]
            await send(message)

        started = time.perf_counter()
        telemetry.IN_FLIGHT.inc()
        try:
            route = await self._answer(scope, decoded(self._limited(receive, scope), headers), send_marked)
            if not status:  # the page of an error failed as well
                await problem_response(RuntimeError("no answer"))(scope, receive, send_marked)
        finally:
            telemetry.IN_FLIGHT.dec()
        seconds = time.perf_counter() - started
        telemetry.route_seconds(route).observe(seconds)
        telemetry.requests_of(code, status).inc()
        telemetry.seconds_of(code).inc(seconds)
        self._access.write(route, scope["path"], status, seconds, code, identifier)

    def _allowed(self, scope: Scope) -> str:
        """The methods of a path, of whichever route; for `*`, of the server."""
        if scope["path"] == "*":
            return ", ".join(METHODS)
        methods = {method for method, path in self._lean if path == scope["path"]}
        for method in METHODS:
            wanted = {**scope, "method": method}
            if any(route.matches(wanted)[0] == Match.FULL for route in self.api.router.routes):
                methods |= {method, "HEAD"} if method == "GET" else {method}
        return ", ".join(sorted(methods))

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        """As the service shows an address that it does not know: a page, or a document."""
        handlers = self.api.exception_handlers
        show: Any = handlers.get(404) or handlers[Problem]
        response: Response = await show(Request({**scope, "app": self.api}, receive), problem)
        await response(scope, receive, send)

    def flush_log(self) -> None:
        self._access.flush()

    def _limited(self, receive: Receive, scope: Scope) -> Receive:
        """`receive` that refuses a body beyond the largest: a body's length is known or counted."""
        length = header_of(scope["headers"], b"content-length")
        if length.isdecimal() and int(length) <= LARGEST_BODY:
            return receive
        path = scope["path"]
        return _counted(
            receive, next((size for ending, size in self._larger.items() if path.endswith(ending)), LARGEST_BODY)
        )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> str:
        """Answer the request and name its route: a template, so that the metrics stay bounded."""
        if scope["method"] == "OPTIONS" and (allowed := self._allowed(scope)):
            await Response(status_code=204, headers={"allow": allowed})(scope, receive, send)
            return "unmatched"
        lean = self._lean.get((scope["method"], scope["path"]))
        if lean is None:
            try:
                if problem := misaddressed(scope):
                    await self._refuse(problem, scope, receive, send)
                else:
                    await self.api(scope, receive, send)
            except Exception:  # the handler for Exception has answered; this is for the log
                log.exception("request.failed", path=telemetry.shown(scope["path"]))
            route = scope.get("route")
            # a known path under a method that it has not is answered 405; methods are a caller's to choose
            if route is None or scope["method"] not in route.methods:
                return "unmatched"
            return f"{scope['method']} {route.path}"
        name, answer = lean
        try:
            await answer(self.kernel, scope, receive, send)
        except Exception as error:
            await problem_response(error)(scope, receive, send)
        return name


def create_app(
    settings: ServiceSettings,
    *,
    title: str,
    routers: Sequence[APIRouter],
    lean: Mapping[tuple[str, str], LeanRoute] | None = None,
    lifespan: Lifespan | None = None,
    checks: Mapping[str, Callable[[Kernel], Check]] | None = None,
    kernel: Kernel | None = None,
    larger_bodies: Mapping[str, int] | None = None,
    parts: object = None,
) -> Service:
    """The application of one service.

    Args:
        lean: hot operations, by method and path, ahead of FastAPI.
        lifespan: what the service starts and stops by itself, around the time in which it serves.
        checks: what `/readyz` requires, by name; each gets the kernel and gives a check that is time-limited here.
        kernel: built from the settings when the service did not need one before.
        larger_bodies: the largest body in bytes by a path's ending, where a mebibyte is too little.
        parts: what the module holds beside the kernel; routes get it by `parts_of`.
    """
    kernel = kernel or Kernel(settings)
    required = {name: make(kernel) for name, make in (checks or {}).items()}

    @asynccontextmanager
    async def run(_: FastAPI) -> AsyncIterator[None]:
        _expect_all(kernel, api)
        kernel.start()
        async with lifespan(kernel) if lifespan else nullcontext():
            first_look = asyncio.create_task(_look(kernel, required))  # told also where no gateway asks
            # what is alive now stays alive: collections need not look at it again (p99 falls by half)
            gc.collect()
            gc.freeze()
            yield
            first_look.cancel()
        await kernel.close()
        service.flush_log()

    api = FastAPI(title=title, lifespan=run, docs_url=None, redoc_url=None, responses=PROBLEMS)
    api.state.kernel, api.state.parts = kernel, parts
    for error in EVERY_ERROR:
        api.add_exception_handler(error, _handle)
    for router in routers:
        api.include_router(router)
    api.include_router(_health(kernel, required))
    api.openapi = partial(_document, api)  # type: ignore[method-assign]
    service = Service(kernel, api, lean or {}, larger_bodies or {})
    return service


def _expect_all(kernel: Kernel, api: FastAPI) -> None:
    """Every series that requests may count in is there before the first one, also for tenants that come later."""

    def of_tenants() -> None:
        telemetry.expect_tenants(tenant.code for tenant in kernel.directory.own_cell())

    of_tenants()
    kernel.directory.changed.append(of_tenants)
    routes = ((method, route.path) for route in iter_route_contexts(api.routes) for method in route.methods or ())
    telemetry.expect_routes(f"{method} {path}" for method, path in routes if path not in WATCHED)


def _head_of(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send(message if message["type"] != "http.response.body" else {**message, "body": b""})

    return send_head


def _document(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with errors under the media type that they really have."""
    document = FastAPI.openapi(api)
    for path in document["paths"].values():
        for operation in path.values():
            content = operation.get("responses", {}).get("default", {}).get("content", {})
            if "application/json" in content:
                content["application/problem+json"] = content.pop("application/json")
    return document


def api_prefix(module: str) -> str:
    """Where the paths of a module's API begin, on whichever site it answers."""
    return f"/api/{module}"


async def parts_of(request: Request) -> Any:
    """What the module holds: `CurrentAffairs = Annotated[Affairs, Depends(parts_of)]` in its `parts.py`."""
    return request.app.state.parts


async def kernel_of(request: Request) -> Kernel:
    kernel: Kernel = request.app.state.kernel
    return kernel


CurrentKernel = Annotated[Kernel, Depends(kernel_of)]


async def site_tenant(request: Request, kernel: CurrentKernel) -> Tenant:
    return kernel.tenant_of(request.headers.get("host", ""))


CurrentTenant = Annotated[Tenant, Depends(site_tenant)]


def _health(kernel: Kernel, checks: Mapping[str, Check]) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def readyz(response: Response) -> dict[str, Any]:
        """Ready when each required check passes. Identity and cache are told but not required: see their methods."""
        passed = await _look(kernel, checks)
        ready = all(passed[name] for name in checks)
        response.status_code = 200 if ready else 503
        return {"status": "ready" if ready else "not ready", "required": list(checks), "checks": passed}

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


async def _look(kernel: Kernel, required: Mapping[str, Check]) -> dict[str, bool]:
    """Whether each dependency answers, for whoever asks and for the metrics."""
    checks = {**required, "cache": kernel.cache.ping, "keys": kernel.verifier.finds_keys}
    passed = dict(zip(checks, await asyncio.gather(*map(_passes, checks.values())), strict=True))
    for name, passes in passed.items():
        if name != "keys" or kernel.verifier.was_asked:
            telemetry.DEPENDENCY_UP.labels(name).set(passes)
    return passed


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except Exception as error:
        log.warning("readiness.check_failed", check=getattr(check, "__qualname__", ""), error=repr(error))
        return False


async def _handle(_: Request, error: Exception) -> Response:
    return problem_response(error)


def problem_response(error: Exception) -> Response:
    problem = as_problem(error)
    log_problem(problem, error)
    return Response(
        problem.document(telemetry.request_id.get()).model_dump_json(exclude_defaults=True),
        status_code=problem.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )


def log_problem(problem: Problem, error: Exception) -> None:
    """A bug with its trace. What is out or busy is one line: no bug, and said with every request meanwhile."""
    if problem.status == 503:
        log.warning("request.unavailable", kind=problem.kind, error=repr(error.__cause__ or error))
    elif problem.status >= 500:
        log.error("request.problem", kind=problem.kind, exc_info=error)


def as_problem(error: Exception) -> Problem:
    """Any error as the answer to give."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return invalid(error.errors())
    if isinstance(error, StarletteHTTPException):
        return Problem(error.status_code, "http", str(error.detail), headers=dict(error.headers or {}))
    if isinstance(error, UNKEEPABLE):
        return Problem(422, "invalid", "The text holds characters that cannot be kept.")
    if dependency := dependency_out(error):
        return Unavailable(dependency)
    return Problem(500, "internal", "Something went wrong here; the request id names it.")


def invalid(errors: Sequence[Any]) -> Problem:
    """The answer to a body or parameter that does not fit, without echoing what was sent."""
    places = [{"where": ".".join(map(str, error["loc"])), "what": str(error["msg"])} for error in errors]
    return Problem(422, "invalid", "The request does not fit its description.", errors=places)


_PROCESS = uuid.uuid4().hex[:16]
_REQUESTS = count()


def _request_id(headers: Sequence[tuple[bytes, bytes]]) -> str:
    for key, value in headers:
        if key == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return value.decode()
    return f"{_PROCESS}{next(_REQUESTS):016x}"


def _counted(receive: Receive, largest: int) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > largest:
            raise HTTPException(413, f"At most {largest} bytes.")
        return message

    return counted
