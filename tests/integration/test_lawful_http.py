"""What HTTP allows and browsers rarely send is answered as the standard says, and each error by a page or a problem."""

from __future__ import annotations

import json
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from infra.local.cloud.balancers.configuration import ERRORS
from services.kernel.server import with_path
from services.kernel.telemetry import shown
from tests.integration.backends import free_port
from tests.integration.front import Front
from tests.integration.identity_site import IdentitySite
from tests.integration.network import COUNTY, Network
from tests.integration.portal_site import HERE, site
from tests.integration.served_portal import DOMAIN, ServedPortal
from tests.integration.test_portal import ITEM, NUMBER
from tests.support.waiting import wait_until

NAME = f"binjiang.{DOMAIN}"
HOST = f"{NAME}:8443"
HEADERS = f"Host: {HOST}\nConnection: close\n\n"
FORM = "Content-Type: application/x-www-form-urlencoded\n"
GBK = "材料".encode("gbk")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        return self.headers.get("content-type", "")

    def is_ours(self) -> bool:
        """A page in the site's frame, or a problem that tells its own status."""
        if self.kind == "application/problem+json":
            return bool(json.loads(self.body)["status"] == self.status)
        return self.kind == "text/html; charset=utf-8" and b"data-test" in self.body


@pytest.fixture(scope="module")
def portal(served_portal: ServedPortal) -> ServedPortal:
    served_portal.sites.world.says("GET", "/api/affairs/items", 200, {"items": [ITEM]})
    served_portal.sites.world.says("GET", "/api/affairs/items/XK-SPJY", 200, ITEM)
    return served_portal


def ask(portal: ServedPortal, head: str) -> Answer:
    """What a site answers to these very bytes, over TLS through balancer and gateway."""
    with (
        socket.create_connection(("127.0.0.1", portal.front.port), timeout=20) as plain,
        portal.front.trust().wrap_socket(plain, server_hostname=NAME) as connection,
    ):
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1"))
        received = b""
        while not _whole(received) and (part := connection.recv(65536)):
            received += part
    return _parsed(received)


def _whole(received: bytes) -> bool:
    answer = _parsed(received) if b"\r\n\r\n" in received else None
    return (
        answer is not None
        and "content-length" in answer.headers
        and (len(answer.body) >= int(answer.headers["content-length"]))
    )


def _parsed(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split(" ")[1]), headers, body)


# --- requests that must be served ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [f"https://{HOST}", f"https://{HOST}/", "/"])
def test_a_host_without_a_path_is_the_sites_root(portal: ServedPortal, target: str) -> None:
    answer = ask(portal, f"GET {target} HTTP/1.1\n{HEADERS}")
    assert (answer.status, answer.is_ours()) == (200, True)
    assert "常办事项".encode() in answer.body


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"https://a.test:8443", b"https://a.test:8443/"),
        (b"http://a.test?q=/x", b"http://a.test/?q=/x"),
        (b"https://a.test/items", b"https://a.test/items"),
        (b"/items?next=https://a.test", b"/items?next=https://a.test"),
        (b"*", b"*"),
        (b"a.test:443", b"a.test:443"),
    ],
)
def test_only_a_whole_address_without_a_path_is_given_one(target: bytes, path: bytes) -> None:
    assert with_path(target) == path


@pytest.mark.parametrize(
    "path", ["/", f"https://{HOST}", "/items", "/items/XK-SPJY", "/nothing-here", "/assets/no.css"]
)
def test_head_is_answered_as_get_is_but_for_the_body(portal: ServedPortal, path: str) -> None:
    got, head = (ask(portal, f"{method} {path} HTTP/1.1\n{HEADERS}") for method in ("GET", "HEAD"))
    assert head.status == got.status
    assert {name: head.headers.get(name) for name in ("content-type", "content-length", "cache-control")} == {
        name: got.headers.get(name) for name in ("content-type", "content-length", "cache-control")
    }
    assert head.body == b""


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/items", "GET, HEAD"), ("/progress", "GET, HEAD, POST"), ("/logout", "POST"), ("/assets/site.css", "GET, HEAD")],
)
def test_what_a_path_allows_is_told_to_who_asks_and_to_who_errs(portal: ServedPortal, path: str, methods: str) -> None:
    asked = ask(portal, f"OPTIONS {path} HTTP/1.1\n{HEADERS}")
    assert (asked.status, asked.headers["allow"]) == (204, methods)
    for method in ("DELETE", "TRACE", "PURGE"):
        refused = ask(portal, f"{method} {path} HTTP/1.1\n{HEADERS}")
        assert (refused.status, refused.headers["allow"], refused.is_ours()) == (405, methods, True)


def test_a_slash_too_many_leads_to_the_page_and_not_out_of_the_secure_site(portal: ServedPortal) -> None:
    answer = ask(portal, f"GET /items/ HTTP/1.1\n{HEADERS}")
    assert (answer.status, answer.headers["location"]) == (307, f"{site(HERE)}/items")


def test_a_form_in_chunks_is_read(portal: ServedPortal) -> None:
    chunked = f"POST /progress HTTP/1.1\n{FORM}Transfer-Encoding: chunked\n{HEADERS}3\na=b\n0\n\n"
    answer = ask(portal, chunked)
    assert (answer.status, answer.is_ours()) == (403, True)


# --- requests that are refused -------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, int]] = {
    "no host": ("GET / HTTP/1.1\nConnection: close\n\n", 400),
    "another's host": ("GET / HTTP/1.1\nHost: nobody.zj.localhost\nConnection: close\n\n", 421),
    "a method that nobody knows": (f"FOO / HTTP/1.1\n{HEADERS}", 400),
    "a tunnel": (f"CONNECT {HOST} HTTP/1.1\n{HEADERS}", 400),
    "a body beyond all": (f"POST /progress HTTP/1.1\n{FORM}Content-Length: 30000000\n{HEADERS}", 413),
    "a page that is not there": (f"GET /nothing-here HTTP/1.1\n{HEADERS}", 404),
    "an act that is not there": (f"POST /nothing-here HTTP/1.1\n{HEADERS}", 404),
    "figures": (f"GET /metrics HTTP/1.1\n{HEADERS}", 404),
}

NO_HTTP: dict[str, str] = {
    "no HTTP at all": "GARBAGE\n\n",
    "two hosts": f"GET https://{HOST}/ HTTP/1.1\nHost: other.test\nConnection: close\n\n",
    "an address that is not ASCII": f"GET /items?q=\xb2\xc4 HTTP/1.1\n{HEADERS}",
    "a length that is none": f"POST /progress HTTP/1.1\nContent-Length: x\n{HEADERS}",
    "a coding that nobody knows": f"POST /progress HTTP/1.1\nTransfer-Encoding: gzip\n{HEADERS}",
}


@pytest.mark.parametrize("what", NO_HTTP)
def test_what_is_no_http_ends_at_the_balancer(portal: ServedPortal, what: str) -> None:
    """Whose parser answers by itself, before there is a request: no setting changes its words, as in the cloud."""
    answer = ask(portal, NO_HTTP[what])
    assert answer.status == 400
    assert b"haproxy" not in answer.body.lower()


@pytest.mark.parametrize("what", REFUSED)
def test_every_refusal_is_a_page_of_ours_or_a_problem(portal: ServedPortal, what: str) -> None:
    request, status = REFUSED[what]
    answer = ask(portal, request)
    assert (answer.status, answer.is_ours()) == (status, True), answer


@pytest.mark.parametrize("process", ["balancer", "gateway"])
def test_what_a_proxy_answers_by_itself_is_a_problem(portal: ServedPortal, process: str) -> None:
    """Also what takes too long to bring about here: 408, 502, 504."""
    configured = (portal.front.folder / f"{process}.cfg").read_text(encoding="utf-8")
    told = re.findall(r"http-error status (\d+) content-type application/problem\+json.* string '(.*)'", configured)
    assert {int(status) for status, _ in told} >= set(ERRORS)
    assert all(json.loads(problem)["status"] == int(status) for status, problem in told)


def test_where_nobody_serves_a_person_gets_a_page_and_a_program_a_problem(backend_folder: Path) -> None:
    services = {"affairs": free_port(), "portal": free_port()}
    front = Front(backend_folder / "empty-front", {NAME: "tenant"}, services)
    front.start()
    try:
        with httpx.Client(verify=front.trust(), base_url=f"https://localhost:{front.port}", timeout=20) as client:
            host, name = {"host": HOST}, {"sni_hostname": NAME}
            person, program = (client.get(path, headers=host, extensions=name) for path in ("/", "/api/affairs/items"))
    finally:
        front.stop()
    assert {answer.status_code for answer in (person, program)} == {503}
    assert {answer.headers["retry-after"] for answer in (person, program)} == {"2"}
    assert person.headers["content-type"] == "text/html; charset=utf-8" and "服务正在恢复" in person.text
    assert program.headers["content-type"] == "application/problem+json" and program.json()["status"] == 503


def test_a_service_that_cannot_even_tell_its_error_answers_with_a_problem(
    portal: ServedPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no page today")

    pages = portal.sites.app.api.state.parts.pages
    monkeypatch.setattr(pages, "page", broken)
    monkeypatch.setattr(pages, "error", broken)
    answer = ask(portal, f"GET / HTTP/1.1\n{HEADERS}")
    assert (answer.status, answer.kind, answer.is_ours()) == (500, "application/problem+json", True)


def test_identity_answers_likewise(identity_site: IdentitySite) -> None:
    with identity_site.client() as client:
        assert client.head("/login").status_code == 200
        assert client.head("/jwks").headers["content-type"] == "application/json"
        wrong = client.delete("/login")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, POST")
        assert client.get("/log-out").headers["allow"] == "POST"
        assert client.get("/login/").headers["location"] == f"{identity_site.issuer}/login"


def test_a_secret_in_a_path_is_in_no_log(portal: ServedPortal) -> None:
    """An invitation's link opens an office to whoever reads it."""
    path = f"/invitation/{secrets.token_urlsafe(32)}"
    assert ask(portal, f"GET {path} HTTP/1.1\n{HEADERS}").status == 404
    kept = portal.front.folder / "gateway.log"
    lines = wait_until(lambda: [line for line in kept.read_text().splitlines() if "invitation" in line], 10, "a line")
    assert [json.loads(line)["path"] for line in lines] == ["/invitation/SECRET"]
    assert shown(path) == "/invitation/SECRET" and shown(f"/cases/{NUMBER}") == f"/cases/{NUMBER}"


# --- text that is not UTF-8 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"number=" + GBK, b"number=" + quote(GBK).encode(), b"number=1&" + quote(GBK).encode()]
)
def test_a_form_in_gbk_is_refused(portal: ServedPortal, body: bytes) -> None:
    head = f"POST /progress HTTP/1.1\n{FORM}Content-Length: {len(body)}\n{HEADERS}"
    answer = ask(portal, head + body.decode("latin-1"))
    assert (answer.status, answer.is_ours()) == (400, True)


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded; charset=gbk",
        'multipart/form-data; charset="GB18030"; boundary=x',
        "application/x-www-form-urlencoded;charset=nonsense",
    ],
)
def test_another_charset_is_refused_by_its_name(portal: ServedPortal, kind: str) -> None:
    answer = ask(portal, f"POST /progress HTTP/1.1\nContent-Type: {kind}\nContent-Length: 3\n{HEADERS}a=b")
    assert (answer.status, answer.is_ours()) == (415, True)


@pytest.mark.parametrize("path", [f"/items?q={quote(GBK)}", f"/items/{quote(GBK)}", f"/login?next=/{quote(GBK)}"])
def test_an_address_in_gbk_is_refused(portal: ServedPortal, path: str) -> None:
    answer = ask(portal, f"GET {path} HTTP/1.1\n{HEADERS}")
    assert (answer.status, answer.is_ours()) == (400, True)


def test_a_search_in_utf_8_is_served(portal: ServedPortal) -> None:
    assert ask(portal, f"GET /items?q={quote('材料')} HTTP/1.1\n{HEADERS}").status == 200


def multipart(name: bytes, value: bytes, filename: bytes = b"a.pdf") -> bytes:
    return (
        b'--x\r\nContent-Disposition: form-data; name="' + name + b'"\r\n\r\n' + value + b"\r\n"
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="'
        + filename
        + b'"\r\n\r\n'
        + GBK
        + b"\r\n--x--\r\n"
    )


@pytest.mark.parametrize("body", [multipart(b"name", GBK), multipart(GBK, b"x"), multipart(b"name", b"x", GBK)])
def test_a_materials_name_in_gbk_is_refused_and_its_content_is_bytes(catalogue: Network, body: bytes) -> None:
    path, kind = f"/cases/{'3' * 22}/materials", {"content-type": "multipart/form-data; boundary=x"}
    with catalogue.client(COUNTY, catalogue.issuer.citizen("gbk")) as client:
        refused = client.post(path, content=body, headers=kind)
        assert (refused.status_code, "UTF-8" in refused.json()["detail"]) == (400, True)
        named = multipart(b"name", "材料".encode(), "材料.pdf".encode())
        assert client.post(path, content=named, headers=kind).status_code == 404, "no such case, and no other fault"


@pytest.mark.parametrize("body", [b'{"item": "' + GBK + b'"}', b'{"item": "\\ud800"}'])
def test_json_that_is_no_text_is_refused(catalogue: Network, body: bytes) -> None:
    headers = {"content-type": "application/json", "idempotency-key": "k" * 24}
    with catalogue.client(COUNTY, catalogue.issuer.citizen("gbk")) as client:
        for path in ("/cases", f"/cases/{'3' * 22}/acceptance"):
            answer: httpx.Response = client.post(path, content=body, headers=headers)
            assert answer.status_code in (400, 422), answer.text
            assert answer.headers["content-type"] == "application/problem+json"
