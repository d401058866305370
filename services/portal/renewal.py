"""Fresh tokens for a session, a minute before the old ones expire.

One request renews; others use the old tokens or wait for the new ones. Only identity's plain refusal ends a session. An
answer that is lost on the way (a hang, a cut, a killed process) may have spent the refresh token all the same: identity
gives its successor again, but for a short time only, and the person's next page may come much later. So the process
goes on trying by itself for as long.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from services.kernel.outages import OUTAGES
from services.kernel.problems import Unavailable
from services.kernel.tenancy import Tenant
from services.portal.relying_party import RelyingParty, SessionOver
from services.portal.store.sessions import Session, Sessions

log = structlog.get_logger(__name__)

EARLY_SECONDS = 60.0
WAIT_SECONDS = 5.0
TRY_ON_SECONDS = 90.0
"""Within the two minutes for which identity gives a lost answer again."""
PAUSES = (1.0, 2.0, 4.0)
MOST_AT_ONCE = 1000
PASSING = (Unavailable, *OUTAGES)


class Renewals:
    """What one process renews. Processes agree by a claim in the session's row."""

    def __init__(self, sessions: Sessions, relying_party: RelyingParty) -> None:
        self._sessions = sessions
        self._relying_party = relying_party
        self._tried_on: dict[bytes, asyncio.Task[None]] = {}

    async def renewed(self, tenant: Tenant, session: Session) -> Session | None:
        """The session with a token that is still good for a while; None when identity ended it.

        Identity out: raises Unavailable, and a token that is still good may be used on.
        """
        left = session.tokens.expires_at - time.time()
        if left > EARLY_SECONDS:
            return session
        if not await self._sessions.claim_renewal(tenant.code, session):
            return session if left > 0 else await self._renewed_elsewhere(tenant, session)
        try:
            return await self._renew(tenant, session)
        except PASSING:
            self._try_on(tenant, session)
            raise

    async def settled(self) -> None:
        """Returns when nothing is tried behind the visitors' backs any more."""
        await asyncio.gather(*self._tried_on.values(), return_exceptions=True)

    async def close(self) -> None:
        for task in self._tried_on.values():
            task.cancel()
        await self.settled()

    async def _renew(self, tenant: Tenant, session: Session) -> Session | None:
        try:
            tokens = await self._relying_party.renew(tenant, session.tokens)
        except SessionOver:
            await self._sessions.end(tenant.code, session)
            return None
        except Unavailable:
            await self._sessions.give_up_renewal(tenant.code, session)
            raise
        return await self._sessions.keep(tenant.code, session, tokens)

    async def _renewed_elsewhere(self, tenant: Tenant, session: Session) -> Session | None:
        """Another request is at it: its result."""
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            await asyncio.sleep(0.1)
            latest_session = await self._sessions.again(tenant.code, session)
            if latest_session is None or latest_session.sealed != session.sealed:
                return latest_session
        raise Unavailable("identity")

    def _try_on(self, tenant: Tenant, session: Session) -> None:
        if session.id not in self._tried_on and len(self._tried_on) < MOST_AT_ONCE:
            task = asyncio.create_task(self._try_until_told(tenant, session))
            self._tried_on[session.id] = task
            task.add_done_callback(lambda _: self._tried_on.pop(session.id, None))

    async def _try_until_told(self, tenant: Tenant, session: Session) -> None:
        """Until there are new tokens, here or by another process, or identity has ended the session."""
        until, tries = time.monotonic() + TRY_ON_SECONDS, 0
        while time.monotonic() < until:
            await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1
            try:
                if await self._sessions.claim_renewal(tenant.code, session):
                    await self._renew(tenant, session)
                    return
                latest_session = await self._sessions.again(tenant.code, session)
            except PASSING:
                continue
            if latest_session is None or latest_session.sealed != session.sealed:
                return
        log.warning("session.renewal_given_up", tries=tries)
