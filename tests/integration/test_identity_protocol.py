"""The OpenID Connect provider, asked by a real client through TLS, the gateway and the pooler."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from authlib.oidc import discovery, rpinitiated

from services.identity.app import create
from services.kernel.settings import ServiceSettings
from tests.integration.identity_site import IdentitySite, RelyingParty, log_in, submit
from tests.support.waiting import wait_until

# An ID token read with nothing but the standard library and openssl's library: no code of the provider takes part.
READ_ID_TOKEN = """
import json, sys
from base64 import urlsafe_b64decode
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

def decoded(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))

asked = json.load(sys.stdin)
head, body, signature = asked["token"].split(".")
header = json.loads(decoded(head))
[jwk] = [key for key in asked["jwks"]["keys"] if key["kid"] == header["kid"]]
assert (header["alg"], jwk["kty"], jwk["crv"]) == ("ES256", "EC", "P-256") and "d" not in jwk
x, y = (int.from_bytes(decoded(jwk[name])) for name in "xy")
raw = decoded(signature)
der = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
key.verify(der, f"{head}.{body}".encode(), ec.ECDSA(SHA256()))
print(decoded(body).decode())
"""


@pytest.fixture
def site(identity_site: IdentitySite) -> IdentitySite:
    return identity_site


@pytest.fixture
def person(site: IdentitySite) -> dict[str, Any]:
    return site.person("wangxiaoming", phone="13800000001")


@pytest.fixture
def party(site: IdentitySite, person: dict[str, Any]) -> RelyingParty:
    return RelyingParty(site)


@contextmanager
def logged_in(site: IdentitySite, username: str = "wangxiaoming") -> Iterator[httpx.Client]:
    with site.browser() as browser:
        response = log_in(browser, username)
        assert response.status_code == 303, response.text
        yield browser


def read_independently(site: IdentitySite, token: str) -> dict[str, Any]:
    with site.client() as client:
        asked = {"token": token, "jwks": client.get("/jwks").json()}
    done = subprocess.run(
        [sys.executable, "-c", READ_ID_TOKEN], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    claims: dict[str, Any] = json.loads(done.stdout)
    return claims


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


# ---- what the provider says of itself ----


def test_discovery_document_is_what_the_standards_ask_for(site: IdentitySite) -> None:
    with site.client() as client:
        document = client.get("/.well-known/openid-configuration").json()
    # one difference, on purpose: tokens are signed by ES256 alone, where the standard also wants RS256 for strangers
    assert document["id_token_signing_alg_values_supported"] == ["ES256"]
    with_both = document | {"id_token_signing_alg_values_supported": ["ES256", "RS256"]}
    metadata = discovery.OpenIDProviderMetadata(with_both)
    metadata.validate(metadata_classes=[rpinitiated.OpenIDProviderMetadata])
    assert document["issuer"] == site.issuer
    assert document["code_challenge_methods_supported"] == ["S256"]
    with site.client() as client:
        for name in (
            "authorization_endpoint",
            "token_endpoint",
            "userinfo_endpoint",
            "jwks_uri",
            "end_session_endpoint",
        ):
            assert document[name].startswith(f"{site.issuer}/")
            assert client.get(document[name]).status_code != 404, name


def test_discovery_check_notices_a_wrong_document() -> None:
    broken = discovery.OpenIDProviderMetadata({"issuer": "http://elsewhere.test", "jwks_uri": "https://elsewhere.test"})
    with pytest.raises(ValueError, match="https"):
        broken.validate()


def test_published_keys_hold_no_private_part(site: IdentitySite) -> None:
    with site.client() as client:
        [key] = client.get("/jwks").json()["keys"]
    required = {name: key[name] for name in ("crv", "kty", "x", "y")}
    thumbprint = hashlib.sha256(json.dumps(required, sort_keys=True, separators=(",", ":")).encode()).digest()
    assert key["kid"] == urlsafe_b64encode(thumbprint).rstrip(b"=").decode(), "the kid is the RFC 7638 thumbprint"
    assert "d" not in key and key["use"] == "sig"


# ---- the code flow ----


def test_code_flow_gives_tokens_that_an_independent_reader_accepts(site: IdentitySite, party: RelyingParty) -> None:
    person = site.person(
        "wangxiaoming",
        phone="13800000001",
        roles=[{"tenant": "330112", "department": "行政审批科", "role": "clerk"}],
    )
    with logged_in(site) as browser:
        tokens = party.tokens_for(browser)
    claims = read_independently(site, tokens["id_token"])
    assert claims["iss"] == site.issuer and claims["aud"] == party.code and claims["nonce"] == party.nonce
    assert claims["sub"] == person["id"] and claims["name"] == "王小明" and claims["phone_number"] == "+8613800000001"
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    assert claims["at_hash"] == urlsafe_b64encode(half).rstrip(b"=").decode()
    access = read_independently(site, tokens["access_token"])
    assert access["aud"] == "yiwang" and access["client_id"] == party.code and access["sub"] == person["id"]
    assert access["roles"] == person["roles"] and 590 <= access["exp"] - access["iat"] <= 600
    with site.client(headers={"authorization": f"Bearer {tokens['access_token']}"}) as api:
        told = api.get("/userinfo").json()
    assert told == {
        "sub": person["id"],
        "name": "王小明",
        "preferred_username": "wangxiaoming",
        "phone_number": "+8613800000001",
        "phone_number_verified": False,
        "roles": person["roles"],
    }


def test_independent_reader_refuses_a_token_with_one_changed_letter(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        head, body, signature = party.tokens_for(browser)["id_token"].split(".")
    changed = f"{head}.{body[:-4]}{'A' if body[-4] != 'A' else 'B'}{body[-3:]}.{signature}"
    with pytest.raises(subprocess.CalledProcessError):
        read_independently(site, changed)


def test_one_log_in_opens_every_site(site: IdentitySite, party: RelyingParty) -> None:
    with site.browser() as browser:
        first = browser.get(party.authorize_path())
        assert first.status_code == 303 and first.headers["location"].startswith("/login?next=")
        sent = log_in(browser, "wangxiaoming", path=first.headers["location"])
        assert sent.status_code == 303 and sent.headers["location"].startswith("/authorize?")
        assert "code" in party.answered(browser.get(sent.headers["location"]))
        for code in ("330112", "330100", "330000"):
            other = RelyingParty(site, code)
            assert other.tokens_for(browser)["refresh_token"], "no second log-in"


def test_log_in_page_names_the_site_it_leads_to(site: IdentitySite, party: RelyingParty) -> None:
    with site.browser() as browser:
        page = browser.get(browser.get(party.authorize_path()).headers["location"])
    assert "西湖区政务服务" in page.text


def test_wrong_verifier_is_refused(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        code = party.code_for(browser)
    answer = party.redeem(code, code_verifier="w" * 43)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert party.token(grant_type="authorization_code", code=code, redirect_uri=party.redirect_uri).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
    ],
    ids=["no challenge", "plain", "no method"],
)
def test_without_s256_there_is_no_code(site: IdentitySite, party: RelyingParty, changes: dict[str, None]) -> None:
    with logged_in(site) as browser:
        answer = party.answered(browser.get(party.authorize_path(**changes)))
    assert answer["error"] == "invalid_request" and answer["state"] == party.state and "code" not in answer


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://t330106.test/callback/"},
        {"redirect_uri": "https://thief.test/callback"},
        {"client_id": "999999"},
        {"client_id": "operator"},
        {"client_id": None},
    ],
    ids=["longer", "elsewhere", "no tenant", "a machine", "nobody"],
)
def test_unknown_site_gets_a_page_and_no_redirection(
    site: IdentitySite, party: RelyingParty, changes: dict[str, str | None]
) -> None:
    with logged_in(site) as browser:
        answer = browser.get(party.authorize_path(**changes))
    assert answer.status_code == 400 and "location" not in answer.headers
    assert "无法从这里登录" in answer.text


def test_another_clients_code_is_refused(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        code = party.code_for(browser)
    thief = RelyingParty(site, "330112", verifier=party.verifier)
    assert thief.redeem(code, redirect_uri=party.redirect_uri).json()["error"] == "invalid_grant"
    assert party.redeem(code).status_code == 200, "the attempt did not spend it"


def test_used_code_is_refused_and_ends_what_it_gave(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        code = party.code_for(browser)
        tokens = party.redeem(code).json()
        assert party.redeem(code).json()["error"] == "invalid_grant"
    assert party.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_code_redeemed_at_once_by_many_gives_tokens_once_at_most(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        code = party.code_for(browser)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: party.redeem(code).status_code, range(8)))
    assert answers.count(200) <= 1 and set(answers) <= {200, 400}


def test_expired_code_is_refused(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        code = party.code_for(browser)
    site.postgres.run("UPDATE identity.authorization_code SET expires_at = now() - interval '1 s'", "identity")
    assert party.redeem(code).json()["error"] == "invalid_grant"


def test_prompts(site: IdentitySite, party: RelyingParty) -> None:
    with site.browser() as browser:
        assert party.answered(browser.get(party.authorize_path(prompt="none")))["error"] == "login_required"
    with logged_in(site) as browser:
        assert "code" in party.answered(browser.get(party.authorize_path(prompt="none")))
        again = browser.get(party.authorize_path(prompt="login"))
        assert again.status_code == 303 and "again=1" in again.headers["location"]
        assert browser.get(again.headers["location"]).status_code == 200, "asks although the session lasts"
        site.postgres.run("UPDATE identity.session SET created_at = now() - interval '1 hour'", "identity")
        assert browser.get(party.authorize_path(max_age="60")).status_code == 303
        assert "code" in party.answered(browser.get(party.authorize_path(max_age="7200")))


def test_authorization_request_by_form_goes_on_as_an_address(site: IdentitySite, party: RelyingParty) -> None:
    path, _, query = party.authorize_path().partition("?")
    with logged_in(site) as browser:
        sent = browser.post(path, content=query, headers={"content-type": "application/x-www-form-urlencoded"})
        assert sent.status_code == 303
        assert "code" in party.answered(browser.get(sent.headers["location"]))


# ---- refresh ----


def test_refresh_rotates(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        tokens = party.tokens_for(browser)
    for _ in range(3):
        answer = party.refresh(tokens["refresh_token"])
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store", answer.text
        renewed = answer.json()
        assert renewed["refresh_token"] != tokens["refresh_token"]
        assert read_independently(site, renewed["access_token"])["name"] == "王小明"
        tokens = renewed


def test_old_refresh_token_used_again_ends_the_family_and_no_other(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        stolen, other = party.tokens_for(browser), RelyingParty(site, "330112").tokens_for(browser)
    renewed = party.refresh(stolen["refresh_token"]).json()
    renewed = party.refresh(renewed["refresh_token"]).json()
    assert party.refresh(stolen["refresh_token"]).json()["error"] == "invalid_grant"
    assert party.refresh(renewed["refresh_token"]).json()["error"] == "invalid_grant", "the family has ended"
    assert RelyingParty(site, "330112").refresh(other["refresh_token"]).status_code == 200
    assert site.rows("SELECT event FROM identity.audit WHERE event = 'refresh_reused'")


def test_refresh_token_used_at_once_by_many_has_one_successor(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        token = party.tokens_for(browser)["refresh_token"]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: party.refresh(token), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    [successor] = {answer.json()["refresh_token"] for answer in answers}
    assert party.refresh(successor).status_code == 200


def test_spent_refresh_token_is_reuse_after_the_grace(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        token = party.tokens_for(browser)["refresh_token"]
    renewed = party.refresh(token).json()["refresh_token"]
    assert party.refresh(token).json()["refresh_token"] == renewed
    site.postgres.run("UPDATE identity.refresh_family SET rotated_at = rotated_at - interval '2 min'", "identity")
    assert party.refresh(token).json()["error"] == "invalid_grant"
    assert party.refresh(renewed).json()["error"] == "invalid_grant", "the family has ended"


def test_hang_of_the_database_logs_nobody_out(site: IdentitySite, party: RelyingParty) -> None:
    """Twelve refreshes are in flight when PostgreSQL stops; their answers are lost, and it does them all the same."""
    with logged_in(site) as browser:
        tokens = [party.tokens_for(browser)["refresh_token"] for _ in range(12)]
    before = rotated_families(site)

    def ask_in_vain(token: str) -> bool:
        with contextlib.suppress(httpx.TimeoutException):
            with site.client() as client:
                form = {"grant_type": "refresh_token", "refresh_token": token}
                client.post("/token", data=form, auth=(party.code, site.client_secrets[party.code]), timeout=2)
            return False
        return True

    with site.postgres.held(), ThreadPoolExecutor(len(tokens)) as threads:
        assert all(threads.map(ask_in_vain, tokens)), "no answer while it hangs"
    wait_until(lambda: rotated_families(site) - before == len(tokens), 30, "what was asked for is done after the hang")
    answers = [party.refresh(token) for token in tokens]
    assert [answer.status_code for answer in answers] == [200] * len(tokens), answers[0].text
    for answer in answers:
        assert party.refresh(answer.json()["refresh_token"]).status_code == 200
    assert party.refresh(tokens[0]).json()["error"] == "invalid_grant", "reuse is caught as ever"


def rotated_families(site: IdentitySite) -> int:
    count: int = site.rows("SELECT count(*) FROM identity.refresh_family WHERE rotated_at IS NOT NULL")[0]["count"]
    return count


def test_a_guess_at_a_family_ends_it(site: IdentitySite, party: RelyingParty) -> None:
    """One wrong secret is all that anybody gets."""
    with logged_in(site) as browser:
        token = party.tokens_for(browser)["refresh_token"]
    guess = token[:32] + "A" * 32
    assert party.refresh(guess).json()["error"] == "invalid_grant"
    assert party.refresh(token).json()["error"] == "invalid_grant"


def test_refresh_token_of_another_client_is_refused_and_stays_good(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        token = party.tokens_for(browser)["refresh_token"]
    assert RelyingParty(site, "330112").refresh(token).json()["error"] == "invalid_grant"
    assert party.refresh(token).status_code == 200


def test_refresh_cannot_widen_the_scope_and_the_token_stays_good(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        token = party.tokens_for(browser)["refresh_token"]
    assert party.refresh(token, scope="openid operator").json()["error"] == "invalid_scope"
    narrow = party.refresh(token, scope="openid")
    assert narrow.status_code == 200 and narrow.json()["scope"] == "openid"


@pytest.mark.parametrize("token", ["", "x", "A" * 64, "é", "\x00" * 64, "A" * 20000])
def test_malformed_refresh_tokens_are_refused(site: IdentitySite, party: RelyingParty, token: str) -> None:
    answer = party.refresh(token)
    assert answer.status_code == 400 and answer.json()["error"] in (
        "invalid_grant",
        "invalid_request",
        "unsupported_grant_type",
    )


def test_a_changed_role_is_in_the_next_token(site: IdentitySite, party: RelyingParty) -> None:
    office = {"tenant": "330106", "department": "政务服务中心", "role": "administrator"}
    site.person("wangxiaoming", phone="13800000001", roles=[office])
    with logged_in(site) as browser:
        tokens = party.tokens_for(browser)
    assert claims_of(tokens["access_token"])["roles"] == [office]
    site.person("wangxiaoming", phone="13800000001", roles=[])
    assert claims_of(party.refresh(tokens["refresh_token"]).json()["access_token"])["roles"] == []
    trail = site.rows("SELECT event FROM identity.audit WHERE event LIKE 'role%' ORDER BY id DESC LIMIT 2")
    assert [row["event"] for row in trail] == ["role_revoked", "role_granted"]


# ---- log-out ----


def test_end_session_logs_out_everywhere(site: IdentitySite, party: RelyingParty) -> None:
    other = RelyingParty(site, "330112")
    with logged_in(site) as browser:
        here, there = party.tokens_for(browser), other.tokens_for(browser)
        hint = {"id_token_hint": here["id_token"], "post_logout_redirect_uri": "https://t330106.test/", "state": "s1"}
        left = browser.get("/end-session", params=hint)
        assert left.status_code == 303 and left.headers["location"] == "https://t330106.test/?state=s1"
        assert browser.get(party.authorize_path()).status_code == 303, "a new log-in is asked for"
    assert party.refresh(here["refresh_token"]).json()["error"] == "invalid_grant"
    assert other.refresh(there["refresh_token"]).json()["error"] == "invalid_grant"
    with site.client(headers={"authorization": f"Bearer {there['access_token']}"}) as api:
        assert api.get("/userinfo").status_code == 401, "at once, though the token itself has not expired"


def test_end_session_without_proof_asks_first(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as browser:
        tokens = party.tokens_for(browser)
        asked = browser.get("/end-session", params={"client_id": "330106"})
        assert asked.status_code == 200 and "要退出登录吗" in asked.text
        assert browser.post("/end-session", data={"client_id": "330106"}).status_code == 200, "no consent in it"
        assert browser.post("/end-session", data={"csrf": "forged"}).status_code == 403
        tokens = party.refresh(tokens["refresh_token"]).json()
        confirmed = submit(browser, "/end-session?client_id=330106&post_logout_redirect_uri=https://t330106.test/")
        assert confirmed.headers["location"] == "https://t330106.test/"
    assert party.refresh(tokens["refresh_token"]).status_code == 400


def test_a_log_out_says_when_the_last_site_has_noticed_it(site: IdentitySite) -> None:
    """Other sites ask when their access token has ended: not at once."""
    with logged_in(site) as browser:
        asked, left = browser.get("/end-session"), submit(browser, "/end-session")
    assert left.status_code == 200
    for page in (asked, left):
        assert "最迟在 10 分钟内随之退出" in page.text


@pytest.mark.parametrize("uri", ["https://thief.test/", "https://t330112.test/", "javascript:alert(1)"])
def test_log_out_never_leads_to_an_unregistered_address(site: IdentitySite, party: RelyingParty, uri: str) -> None:
    with logged_in(site) as browser:
        hint = {"id_token_hint": party.tokens_for(browser)["id_token"], "post_logout_redirect_uri": uri}
        left = browser.get("/end-session", params=hint)
    assert left.status_code == 200 and "location" not in left.headers


def test_log_out_of_all_browsers(site: IdentitySite, party: RelyingParty) -> None:
    with logged_in(site) as elsewhere, logged_in(site) as here:
        tokens = party.tokens_for(elsewhere)
        page = here.get("/")
        token = page.text.split('name="csrf" value="')[1].split('"')[0]
        assert here.post("/sessions/end", data={"csrf": token, "session": "all"}).status_code == 200
        assert elsewhere.get("/").status_code == 303
    assert party.refresh(tokens["refresh_token"]).status_code == 400


# ---- machines ----


def test_machine_tokens(site: IdentitySite) -> None:
    relay = read_independently(site, site.machine_token("330106"))
    assert (relay["sub"], relay["scope"], relay["client_id"]) == ("tenant:330106", "relay", "330106")
    operator = read_independently(site, site.machine_token("operator"))
    assert (operator["sub"], operator["scope"]) == ("operator", "operator")
    assert "refresh_token" not in relay


@pytest.mark.parametrize(
    ("client", "form", "error"),
    [
        ("330106", {"grant_type": "client_credentials", "scope": "operator"}, "invalid_scope"),
        ("operator", {"grant_type": "client_credentials", "scope": "relay"}, "invalid_scope"),
        ("operator", {"grant_type": "authorization_code", "code": "x"}, "unauthorized_client"),
        ("330106", {"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ("330106", {}, "invalid_request"),
    ],
)
def test_machines_get_no_more_than_their_own(site: IdentitySite, client: str, form: dict[str, str], error: str) -> None:
    answer = RelyingParty(site, client).token(**form)
    assert answer.status_code == 400 and answer.json()["error"] == error


@pytest.mark.parametrize("secret", ["wrong", "", "é"])
def test_wrong_client_secret_is_refused(site: IdentitySite, secret: str) -> None:
    with site.client() as client:
        answer = client.post("/token", data={"grant_type": "client_credentials"}, auth=("330106", secret))
        assert answer.status_code == 401 and answer.json()["error"] == "invalid_client"
        assert answer.headers["www-authenticate"].startswith("Basic")
        by_form = {"client_id": "330106", "client_secret": site.client_secrets["330106"]}
        assert client.post("/token", data={"grant_type": "client_credentials", **by_form}).status_code == 401


async def test_lean_token_route_answers_as_the_documented_one(site: IdentitySite) -> None:
    """The lean route stands ahead of FastAPI's; both are asked here, the second one by way of the API inside."""
    variables = {name.removeprefix("YIWANG_").lower(): value for name, value in site.settings().items()}
    service = create(ServiceSettings.model_validate(variables))
    answers = []
    for application in (service, service.api):
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url=site.issuer, trust_env=False) as client:
            for secret, form in (
                (site.client_secrets["330106"], {"grant_type": "client_credentials", "scope": "relay"}),
                (site.client_secrets["330106"], {"grant_type": "client_credentials", "scope": "operator"}),
                (site.client_secrets["330106"], {"grant_type": "refresh_token", "refresh_token": "x"}),
                ("wrong", {"grant_type": "client_credentials"}),
            ):
                answer = await client.post("/token", data=form, auth=("330106", secret))
                answers.append((answer.status_code, sorted(answer.json().items()), dict(answer.headers)))
    await service.kernel.close()
    lean, documented = answers[:4], answers[4:]
    assert [status for status, _, _ in lean] == [200, 400, 400, 401]
    for (status, body, headers), (other_status, other_body, other_headers) in zip(lean, documented, strict=True):
        assert status == other_status and headers.keys() - {"x-request-id"} == other_headers.keys() - {"x-request-id"}
        assert [item for item in body if item[0] != "access_token"] == [i for i in other_body if i[0] != "access_token"]


def test_key_change_keeps_old_tokens_good(site: IdentitySite, party: RelyingParty) -> None:
    """The new key signs, the previous one goes on verifying; no restart."""
    with logged_in(site) as browser:
        tokens = party.tokens_for(browser)
        former, site.signing_key = site.signing_key, f"{int(site.signing_key, 16) ^ 1:064x}"
        try:
            site.write_files(previous_signing_key=former)
            wait_until(lambda: len(_keys(site)) == 2, 10, "both keys are published")
            assert read_independently(site, tokens["id_token"])["sub"]
            with site.client(headers={"authorization": f"Bearer {tokens['access_token']}"}) as api:
                assert api.get("/userinfo").status_code == 200
            fresh = party.refresh(tokens["refresh_token"]).json()["access_token"]
            assert _kid(fresh) == _keys(site)[0] != _kid(tokens["access_token"])
        finally:
            site.signing_key = former
            site.write_files()
            wait_until(lambda: len(_keys(site)) == 1, 10, "the first key alone is published")


def _keys(site: IdentitySite) -> list[str]:
    with site.client() as client:
        return [key["kid"] for key in client.get("/jwks").json()["keys"]]


def _kid(token: str) -> str:
    head = token.split(".")[0]
    kid: str = json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]
    return kid
