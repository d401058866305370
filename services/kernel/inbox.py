"""A tenant's inbox: what other tenants' relays send to it, each kind of message with its handler.

A module that receives writes its handlers, and this does the rest: whose the envelope is, what fits, what is applied
once, and what follows when it is committed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from services.kernel.database import Connection
from services.kernel.outbox import Answer, Envelope, OutboxMessage, Receiver, Rejected
from services.kernel.problems import Problem
from services.kernel.tenancy import Doors, Tenant
from services.kernel.tokens import Principal
from services.kernel.typed import KEPT

Content = TypeVar("Content", bound=BaseModel)


@dataclass(frozen=True)
class Handler(Generic[Content]):
    """`apply(connection, tenant, sender, content)` must only write. `prepare(tenant, content)` does before it, without
    a connection, what takes long; `after(tenant, content)` follows when a new message is committed. The first two may
    raise `Rejected`."""

    content: type[Content]
    apply: Callable[[Connection, Tenant, str, Content], Awaitable[Any]]
    prepare: Callable[[Tenant, Content], Awaitable[None]] | None = None
    after: Callable[[Tenant, Content], None] | None = None


class Inbox:
    def __init__(self, schema: str, doors: Doors, handlers: Mapping[str, Handler[Any]]) -> None:
        self._schema = schema
        self._doors = doors
        self._handlers = handlers

    async def receive(self, tenant: Tenant, caller: Principal, envelope: Envelope) -> Answer:
        """Apply each message once. A relay speaks for its own tenant alone.

        Raises:
            Problem: the token is another's than the envelope's sender's.
            Unavailable, Busy: not one message was reached.
        """
        require_sender(caller, envelope, receiver=tenant.code)
        received: list[tuple[Handler[Any], BaseModel]] = []

        async def prepare(message: OutboxMessage) -> None:
            handler = self._handler(message)
            if handler.prepare:
                await handler.prepare(tenant, _content(handler, message))

        async def apply(connection: Connection, sender: str, message: OutboxMessage) -> None:
            handler = self._handler(message)
            content = _content(handler, message)
            await handler.apply(connection, tenant, sender, content)
            received.append((handler, content))

        def connect() -> AbstractAsyncContextManager[Connection]:
            return self._doors.message_connection(tenant.code)

        answer = await Receiver(self._schema, connect, apply, prepare).receive(envelope)
        for handler, content in received:
            if handler.after:
                handler.after(tenant, content)
        return answer

    def _handler(self, message: OutboxMessage) -> Handler[Any]:
        handler = self._handlers.get(message.kind)
        if handler is None:
            raise Rejected(f"no such kind of message: {message.kind}")
        return handler


def require_sender(caller: Principal, envelope: Envelope, receiver: str = "") -> None:
    """A relay speaks for its own tenant alone, and to others. Raises a Problem."""
    if caller.client_id != envelope.sender or envelope.sender == receiver:
        raise Problem(403, "sender-mismatch", "The token is not the sender's.")


def _content(handler: Handler[Content], message: OutboxMessage) -> Content:
    try:
        return handler.content.model_validate(message.body, context=KEPT)
    except ValidationError as error:
        raise Rejected(f"{error.error_count()} fields do not fit a {message.kind}") from error
