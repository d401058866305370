"""Cases, their traces and materials."""

from __future__ import annotations

from datetime import datetime

from services.affairs.schema import MOST_MATERIALS, Case, Material, MaterialOffer, Snapshot, Trace
from services.kernel.database import Connection
from services.kernel.typed import KEPT

CASE = """
SELECT jsonb_build_object('number', number, 'version', version, 'status', status, 'holder', holder,
    'in_transit_to', in_transit_to, 'path', path, 'item', item, 'item_name', item_name, 'item_version', item_version,
    'basis', basis, 'promised_working_days', promised_working_days, 'applicant', applicant,
    'applicant_name', applicant_name, 'applicant_phone', applicant_phone, 'form', form, 'filed_at', filed_at,
    'accept_by', accept_by, 'due', due, 'changed_at', changed_at, 'steps', steps, 'outcome', outcome,
    'check_code_hash', encode(check_code_hash, 'hex'))
FROM affairs.cases WHERE number = $1"""

KEEP = """
INSERT INTO affairs.cases AS kept (number, version, status, holder, path, item, item_name, item_version, basis,
    promised_working_days, applicant, applicant_name, applicant_phone, form, filed_at, accept_by, due, changed_at,
    steps, check_code_hash)
SELECT number, version, status, holder, path, item, item_name, item_version, basis,
    promised_working_days, applicant, applicant_name, applicant_phone, form, filed_at, accept_by, due, changed_at,
    steps, decode($1::jsonb->>'check_code_hash', 'hex')
FROM jsonb_populate_record(NULL::affairs.cases, $1::jsonb - 'check_code_hash')
ON CONFLICT (number) DO UPDATE SET version = excluded.version, holder = excluded.holder,
    in_transit_to = NULL, path = excluded.path, steps = excluded.steps, due = excluded.due"""

CHANGE = """
UPDATE affairs.cases SET version = new.version, status = new.status, holder = new.holder, path = new.path,
    in_transit_to = new.in_transit_to, due = new.due, changed_at = new.changed_at, steps = new.steps,
    outcome = new.outcome
FROM jsonb_populate_record(NULL::affairs.cases, $1::jsonb - 'check_code_hash') AS new
WHERE cases.number = new.number"""

TRACE = """
INSERT INTO affairs.traces (number, at, action, actor, actor_name, department, basis, details, seconds_since_change)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"""

TRACES = """
SELECT at, action, actor_name, department, basis, details, seconds_since_change
FROM affairs.traces WHERE number = $1 ORDER BY id"""


async def case(connection: Connection, number: str, lock: bool = False) -> Case | None:
    body = await connection.fetchval(f"{CASE} FOR UPDATE" if lock else CASE, number)
    return Case.model_validate_json(body, context=KEPT) if body else None


async def keep(connection: Connection, received: Case) -> None:
    """Keep a case that was handed over, new here or come back."""
    await connection.execute(KEEP, received.model_dump_json(exclude={"materials"}))


async def change(connection: Connection, changed: Case) -> None:
    await connection.execute(CHANGE, changed.model_dump_json(exclude={"form", "materials"}))


async def follow(connection: Connection, news: Snapshot) -> None:
    await connection.execute(CHANGE, news.model_dump_json())


async def trace(
    connection: Connection, number: str, at: datetime, act: tuple[str, str, str, str, str, str, float]
) -> None:
    """Leave a trace: action, actor, name, department, basis, details, seconds since the change before."""
    await connection.execute(TRACE, number, at, *act)


async def traces(connection: Connection, number: str) -> list[Trace]:
    return [Trace(**row) for row in await connection.fetch(TRACES, number)]


ADD_MATERIAL = """
INSERT INTO affairs.materials (number, name, object_key, size, sha256, uploaded_by, uploaded_at)
SELECT $1, $2, $3, $4, $5, $6, $7 WHERE (SELECT count(*) FROM affairs.materials WHERE number = $1) < $8
ON CONFLICT (number, name) DO NOTHING RETURNING true"""


async def materials(connection: Connection, number: str) -> list[Material]:
    rows = await connection.fetch(
        "SELECT name, size, uploaded_at FROM affairs.materials WHERE number = $1 ORDER BY uploaded_at, name", number
    )
    return [Material(**row) for row in rows]


async def same_material(connection: Connection, number: str, offer: MaterialOffer) -> Material | None:
    """The case's material of this name, if its content is the same."""
    row = await connection.fetchrow(
        "SELECT name, size, uploaded_at FROM affairs.materials WHERE number = $1 AND name = $2 AND sha256 = $3",
        number,
        offer.name,
        bytes.fromhex(offer.sha256),
    )
    return Material(**row) if row else None


async def offers(connection: Connection, number: str) -> list[MaterialOffer]:
    """A case's materials for a hand-over; their links are signed when the message is sent."""
    rows = await connection.fetch(
        "SELECT name, size, encode(sha256, 'hex') AS sha256 FROM affairs.materials WHERE number = $1", number
    )
    return [MaterialOffer(**row) for row in rows]


async def add_material(
    connection: Connection, number: str, offer: MaterialOffer, key: str, by: str, at: datetime
) -> bool:
    """False when a material of this name is there, or as many as there may be."""
    digest = bytes.fromhex(offer.sha256)
    kept = await connection.fetchval(ADD_MATERIAL, number, offer.name, key, offer.size, digest, by, at, MOST_MATERIALS)
    return bool(kept)
