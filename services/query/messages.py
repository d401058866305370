"""News of cases: what tenants' relays send to the index, and what becomes of it."""

from __future__ import annotations

from pydantic import ValidationError

from services.kernel import telemetry
from services.kernel.inbox import require_sender
from services.kernel.outbox import Answer, Envelope, Rejection, in_time
from services.kernel.tenancy import Doors
from services.kernel.tokens import Principal
from services.query import store
from services.query.schema import CaseNews

TAKEN_AT_ONCE = 25


class News:
    """An inbox for many senders' cases in one database: what is applied is decided there, a batch a statement."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def receive(self, caller: Principal, envelope: Envelope) -> Answer:
        """Apply a tenant's news of cases. One that does not fit is rejected alone.

        Raises:
            Problem: the token is another's than the envelope's sender's.
        """
        require_sender(caller, envelope)
        answer = Answer(applied=[], rejected=[])
        fitting: list[tuple[int, str]] = []
        for message in envelope.messages:
            try:
                if message.kind != "case":
                    raise ValueError(f"no such kind of message: {message.kind}")
                news = CaseNews.model_validate(message.body)
                fitting.append((message.sequence, news.model_dump_json()))
            except ValueError as error:  # pydantic's ValidationError is one; its text would quote the message
                reason = "does not fit a case" if isinstance(error, ValidationError) else str(error)
                answer.rejected.append(Rejection(sequence=message.sequence, reason=reason))
        await in_time(envelope.sender, answer, self._apply(envelope.sender, fitting, answer))
        return answer

    async def _apply(self, sender: str, fitting: list[tuple[int, str]], answer: Answer) -> None:
        """Some at a time, so that what was applied is told even when there is no time for the rest."""
        for start in range(0, len(fitting), TAKEN_AT_ONCE):
            async with self._doors.own_message_connection() as connection:
                outcomes = await store.apply(connection, sender, fitting[start : start + TAKEN_AT_ONCE])
            for sequence, outcome in outcomes.items():
                telemetry.INBOX_MESSAGES.labels(outcome).inc()
                if outcome == "rejected":
                    reason = "the sender is not known here to hold this case"
                    answer.rejected.append(Rejection(sequence=sequence, reason=reason))
                else:
                    answer.applied.append(sequence)
