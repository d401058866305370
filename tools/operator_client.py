"""The operator's client: what set-up asks of the running services, through the front door like everybody else."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from infra.engine import Engine
from infra.errors import ExpectedError
from infra.outputs import EnvironmentOutputs
from infra.services import IDENTITY

TIMEOUT_SECONDS = 30.0


class OperatorError(ExpectedError):
    """A service refused, or stayed out of reach. `status`: what it answered with, None where it did not."""

    def __init__(self, error: httpx.HTTPError) -> None:
        super().__init__(str(error) or repr(error))
        self.status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None


def operator_of(engine: Engine, outputs: EnvironmentOutputs) -> Operator:
    """The operator's client, its secret read from the stack of the cell that runs identity."""
    core = next(cell.cell for cell in outputs.cells if IDENTITY in [service.name for service in cell.services])
    secret = engine.outputs(core, secrets=True)["secrets"]["operator_client_secret"]
    private = bool(outputs.foundation.authority_certificate)
    return Operator(outputs.issuer, secret, engine.folder.authority / "authority.pem" if private else None)


def _passing(error: BaseException) -> bool:
    """Faults that another try may not meet: every call here is idempotent but `invite`, which says so."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in (429, 502, 503, 504)
    return isinstance(error, httpx.TransportError)


@dataclass
class Operator:
    """Talks to identity and to tenants' sites as the machine client `operator`.

    Raises (every method):
        OperatorError: the service refused, or stayed out of reach for several tries.
    """

    issuer: str
    secret: str = field(repr=False)
    authority: Path | None
    _token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        trust: ssl.SSLContext | bool = True
        if self.authority is not None:
            trust = ssl.create_default_context(cafile=str(self.authority))
        self._client = httpx.Client(verify=trust, timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        self._client.close()

    def get(self, url: str) -> httpx.Response:
        """A page or document that anyone may read."""
        return self._send("GET", url)

    def find_person(self, username: str) -> dict[str, Any] | None:
        """Who has this user name, if anybody has."""
        try:
            person: dict[str, Any] = self._ask("GET", f"{self.issuer}/api/identity/people/{username}").json()
        except OperatorError as error:
            if error.status == 404:
                return None
            raise
        return person

    def ensure_person(self, person: dict[str, Any]) -> dict[str, Any]:
        """Makes a person by user name, or leaves the one that is there as it is."""
        made: dict[str, Any] = self._ask("POST", f"{self.issuer}/api/identity/people", person).json()
        return made

    def invite(self, tenant: str, name: str, department: str) -> dict[str, str]:
        """A one-time link for the tenant's administrator: `{"id", "link", "expires_at"}`. Where an answer was lost,
        another invitation is open beside it."""
        wish = {"tenant": tenant, "name": name, "department": department, "role": "administrator"}
        invitation: dict[str, str] = self._ask("POST", f"{self.issuer}/api/identity/invitations", wish).json()
        return invitation

    def invitations(self, tenant: str) -> dict[str, Any]:
        """`{"administrators": how many, "open": invitations without their links, the oldest first}`."""
        invitations: dict[str, Any] = self._ask("GET", f"{self.issuer}/api/identity/invitations?tenant={tenant}").json()
        return invitations

    def revoke(self, invitation: str) -> bool:
        """Ends an open invitation; tells whether it was one."""
        try:
            self._ask("DELETE", f"{self.issuer}/api/identity/invitations/{invitation}")
        except OperatorError as error:
            if error.status == 404:
                return False
            raise
        return True

    def publish_standard(self, province_url: str, item: dict[str, Any]) -> None:
        """Publishes a standard item's version on the province's site; the same content again changes nothing."""
        content = {key: value for key, value in item.items() if key != "code"}
        self._ask("PUT", f"{province_url}/api/affairs/standards/{item['code']}", content)

    def implement(self, url: str, code: str, implementation: dict[str, Any]) -> None:
        """Sets what a tenant decides for an item by itself."""
        self._ask("PUT", f"{url}/api/affairs/implementations/{code}", implementation)

    def replay_catalogue(self, province_url: str, tenant: str) -> None:
        """Sends a tenant every publication again, from the first."""
        self._ask("POST", f"{province_url}/api/affairs/catalogue/replay", {"tenant": tenant})

    def items(self, url: str) -> list[dict[str, Any]]:
        """The items that a tenant offers."""
        answer = self.get(f"{url}/api/affairs/items").json()
        items: list[dict[str, Any]] = answer["items"]
        return items

    def _ask(self, method: str, url: str, body: dict[str, Any] | None = None) -> httpx.Response:
        content = {} if body is None else {"json": body}
        try:
            return self._send(method, url, headers={"Authorization": f"Bearer {self._access()}"}, **content)
        except OperatorError as error:
            if error.status != 401:
                raise
        self._token = ""  # long work outlives a token
        return self._send(method, url, headers={"Authorization": f"Bearer {self._access()}"}, **content)

    def _access(self) -> str:
        token = self._token
        if not token:
            token = self._send(
                "POST",
                f"{self.issuer}/token",
                data={"grant_type": "client_credentials", "scope": "operator"},
                auth=("operator", self.secret),
            ).json()["access_token"]
            self._token = token
        return token

    def _send(self, method: str, url: str, **content: Any) -> httpx.Response:
        tries = Retrying(
            retry=retry_if_exception(_passing),
            stop=stop_after_attempt(6),
            wait=wait_exponential(0.5, max=8),
            reraise=True,
        )
        try:
            return tries(self._send_once, method, url, **content)
        except httpx.HTTPError as error:
            raise OperatorError(error) from error

    def _send_once(self, method: str, url: str, **content: Any) -> httpx.Response:
        answer = self._client.request(method, url, **content)
        if answer.is_error:
            detail = answer.text[:300]
            raise httpx.HTTPStatusError(
                f"{method} {url} answered {answer.status_code}: {detail}", request=answer.request, response=answer
            )
        return answer
