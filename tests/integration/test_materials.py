"""Materials in the object store: a tenant's prefix and key alone, copied when a case is handed over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.integration.backends import Objects
from tests.integration.filings import accepted_case, act, file, hand_over
from tests.integration.network import CITY, COUNTY, PLACES, Network, Place

CONTENT = "身份证复印件".encode() * 1000


@pytest.fixture(scope="module")
def objects(catalogue: Network) -> Iterator[Objects]:
    """The store, told to the running services by their files alone."""
    accounts = {f"object_access_key_id-{place.code}": f"object_access_key_secret-{place.code}" for place in PLACES}
    server = Objects(catalogue.folder, ["cases"], accounts)
    server.start()
    before = catalogue.object_endpoint
    catalogue.object_endpoint = server.endpoint
    catalogue.write_files()
    for cell in ("cell-a", "cell-b"):  # at once, rather than within a second
        catalogue.running[f"affairs-{cell}"].stop()
        catalogue.start("affairs", cell)
    yield server
    catalogue.object_endpoint = before
    catalogue.write_files()
    server.stop()


def upload(
    network: Network, place: Place, token: str, number: str, name: str = "身份证", content: bytes = CONTENT
) -> httpx.Response:
    with network.client(place, token) as client:
        files = {"file": ("a.pdf", content, "application/pdf")}
        return client.post(f"/cases/{number}/materials", data={"name": name}, files=files)


def stored(objects: Objects) -> list[str]:
    listed = objects.client(*objects.ROOT).list_objects_v2(Bucket="cases")
    return [content["Key"] for content in listed.get("Contents", [])]


def test_a_material_lies_in_its_tenants_prefix_and_is_copied_to_the_next_holder(
    catalogue: Network, objects: Objects
) -> None:
    citizen = catalogue.issuer.citizen("citizen-materials")
    number = accepted_case(catalogue, COUNTY, citizen)["number"]
    first = upload(catalogue, COUNTY, citizen, number)
    assert first.status_code == 201
    again = upload(catalogue, COUNTY, citizen, number, "　身份证\u200b")
    assert (again.status_code, again.json()) == (200, first.json())
    assert upload(catalogue, COUNTY, citizen, number, content=b"another").status_code == 409
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert f"330106/cases/{number}/{digest}" in stored(objects)

    hand_over(catalogue, COUNTY, CITY, number)
    assert f"330100/cases/{number}/{digest}" in stored(objects)
    with catalogue.client(CITY, catalogue.issuer.officer("clerk", CITY.code)) as clerk:
        assert [material["name"] for material in clerk.get(f"/cases/{number}").json()["materials"]] == ["身份证"]
    assert upload(catalogue, COUNTY, citizen, number, "另一份").status_code == 409  # it is not here any more
    assert upload(catalogue, COUNTY, citizen, number).status_code == 200  # a retry learns what became of it


def test_nobody_else_adds_to_a_case(catalogue: Network, objects: Objects) -> None:
    number = file(catalogue, COUNTY, catalogue.issuer.citizen("citizen-m")).json()["number"]
    stranger = catalogue.issuer.citizen("citizen-n")
    hidden, missing = (upload(catalogue, COUNTY, stranger, n) for n in (number, "9" * 22))
    assert hidden.status_code == missing.status_code == 404


def test_a_tenants_key_reaches_no_other_prefix(objects: Objects) -> None:
    own = objects.client("object_access_key_id-330106", "object_access_key_secret-330106")
    own.put_object(Bucket="cases", Key="330106/own", Body=b"x")
    objects.client(*objects.ROOT).put_object(Bucket="cases", Key="330100/canary", Body=b"x")
    for attempt, arguments in (
        (own.get_object, {"Key": "330100/canary"}),
        (own.put_object, {"Key": "330100/mine", "Body": b"x"}),
        (own.list_objects_v2, {"Prefix": "330100/"}),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt(Bucket="cases", **arguments)


def test_with_the_store_out_a_material_waits_and_filing_goes_on(catalogue: Network, objects: Objects) -> None:
    citizen = catalogue.issuer.citizen("citizen-store-out")
    number = accepted_case(catalogue, COUNTY, citizen)["number"]
    objects.stop()
    assert upload(catalogue, COUNTY, citizen, number).status_code == 503
    assert file(catalogue, COUNTY, citizen).status_code == 201
    assert act(catalogue, COUNTY, number, "outcome", {"result": "granted", "text": "准予"}).status_code == 200
