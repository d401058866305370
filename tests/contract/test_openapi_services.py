"""Affairs and query keep to their own OpenAPI documents, whatever is sent: lean routes included.

Both run for real, with their databases; requests are made from the documents and by hand.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.conftest import (  # noqa: F401  (fixtures)
    backend_folder,
    catalogue,
    issuer,
    network,
    postgres,
    redis_server,
)
from tests.integration.filings import fresh_key
from tests.integration.network import COUNTY, PROVINCE, Network, client

CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
FEW = settings(max_examples=15, derandomize=True, suppress_health_check=list(HealthCheck))

# what texts of the field and of mischief look like
TEXTS = [
    "\x00",
    "\ud800",
    "\ufffe",
    "𠮷㐂龘",
    "３３０１０６",
    "' OR 1=1 --",
    "../../etc/passwd",
    "%00",
    "\u202e",
    "110101199003070073",
    "x" * 5000,
]


def token_for(network: Network, path: str) -> str:  # noqa: F811
    if path.endswith("/inbox"):
        return network.issuer.relay("330100")
    if "/standards/" in path or "/catalogue/" in path:
        return network.issuer.operator()
    roles = [{"tenant": COUNTY.code, "department": "办", "role": role} for role in ("clerk", "administrator")]
    return network.issuer.token("contract-person", name="张三", roles=roles)


@pytest.fixture(scope="module")
def affairs_document(catalogue: Network) -> Any:  # noqa: F811
    return schemathesis.openapi.from_url(f"{catalogue.url(COUNTY)}/openapi.json")


@pytest.fixture(scope="module")
def query_document(catalogue: Network) -> Any:  # noqa: F811
    return schemathesis.openapi.from_url(f"{catalogue.query_url}/openapi.json")


def fuzz(document: Any, base_url: str, network: Network) -> set[str]:  # noqa: F811
    """Call every documented operation with what fits and with what does not; the operations that were called."""
    called = set()
    for parsed in document.get_all_operations():
        operation = parsed.ok()
        for mode in GenerationMode:

            @FEW
            @given(case=operation.as_strategy(generation_mode=mode))
            def call(case: Any) -> None:
                headers = {"Authorization": f"Bearer {token_for(network, case.operation.path)}"}
                case.call_and_validate(base_url=base_url, headers=headers, checks=CHECKS, timeout=30)

            call()
        called.add(operation.label)
    return called


def test_affairs_keeps_to_its_document(affairs_document: Any, catalogue: Network) -> None:  # noqa: F811
    called = fuzz(affairs_document, catalogue.url(COUNTY), catalogue)
    assert "POST /api/affairs/cases" in called and len(called) >= 13


def test_query_keeps_to_its_document(query_document: Any, catalogue: Network) -> None:  # noqa: F811
    called = fuzz(query_document, catalogue.query_url, catalogue)
    assert "GET /api/query/cases" in called and len(called) >= 4


def test_a_handler_that_trusts_its_text_is_caught(catalogue: Network) -> None:  # noqa: F811
    careless = FastAPI()

    @careless.get("/{number}")
    async def show(number: str) -> int:
        return int(number)

    document = schemathesis.openapi.from_asgi("/openapi.json", careless)
    with pytest.raises((FailureGroup, ValueError)):
        fuzz(document, "http://testserver", catalogue)


@pytest.mark.parametrize("text", TEXTS, ids=[f"text{number}" for number in range(len(TEXTS))])
def test_odd_texts_never_break_a_route(catalogue: Network, text: str) -> None:  # noqa: F811
    """In every place where a caller's text goes: form, names, codes, searches, reasons, numbers, cursors."""
    applicant = {"name": text[:64], "phone": "13800000000"}
    bodies: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/cases", {"item": "000101", "form": {"shop_name": text, text: text}, "applicant": applicant}),
        ("POST", "/cases", {"item": text, "form": {"shop_name": "x"}, "applicant": applicant}),
        ("POST", "/cases/" + "1" * 22 + "/acceptance", {"accepted": False, "reason": text}),
        ("PUT", "/implementations/000101", {"department": text, "materials_note": text}),
    ]
    with catalogue.client(COUNTY, token_for(catalogue, "")) as affairs_client:
        for method, path, body in bodies:
            content = _json(body)
            headers = {"Content-Type": "application/json", "Idempotency-Key": fresh_key()}
            answer = affairs_client.request(method, path, content=content, headers=headers)
            assert answer.status_code < 500, (path, answer.text)
        words = text.encode("utf-8", "replace").decode()
        assert affairs_client.get("/items", params={"q": words}).status_code < 500
    with catalogue.query(token_for(catalogue, "")) as query_client:
        for parameters in ({"cursor": words}, {"number": words, "check_code": words}):
            for path in ("/cases", "/progress"):
                assert query_client.get(path, params=parameters).status_code < 500
    with catalogue.client(PROVINCE, catalogue.issuer.operator()) as operator:
        standard = {"name": text[:64], "basis": text, "levels": ["county"]}
        content = _json(standard | {"legal_working_days": 1, "promised_working_days": 1})
        headers = {"Content-Type": "application/json"}
        assert operator.put("/standards/odd-text", content=content, headers=headers).status_code < 500


def _json(body: dict[str, Any]) -> bytes:
    """As a careless client would write it: escapes for whatever JSON can escape, lone surrogates too."""
    return json.dumps(body, ensure_ascii=True).encode()


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 10 * 1024 * 1024])
def test_a_body_beyond_the_largest_is_refused(catalogue: Network, size: int) -> None:  # noqa: F811
    with client(f"{catalogue.url(COUNTY)}/api/affairs", token_for(catalogue, "")) as sender:
        headers = {"Content-Type": "application/json", "Idempotency-Key": fresh_key()}
        assert sender.post("/cases", content=b" " * size, headers=headers).status_code == 413
        assert sender.put("/implementations/000101", content=b" " * size, headers=headers).status_code == 413


def test_the_lean_route_and_its_document_agree_on_every_field(catalogue: Network) -> None:  # noqa: F811
    document = httpx.get(f"{catalogue.url(COUNTY)}/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    receipt = document["components"]["schemas"]["FilingReceipt"]["properties"]
    with catalogue.client(COUNTY, token_for(catalogue, "")) as citizen:
        body = {"item": "000101", "form": {"shop_name": "x"}, "applicant": {"name": "张三", "phone": "13800000000"}}
        answer = citizen.post("/cases", json=body, headers={"Idempotency-Key": fresh_key()})
    assert answer.status_code == 201 and set(answer.json()) == set(receipt)
