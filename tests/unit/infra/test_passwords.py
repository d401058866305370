from __future__ import annotations

import string

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from infra.passwords import P256_ORDER, Passwords

seeds = st.binary(min_size=32, max_size=32).map(bytes.hex)
SEED = "00" * 32


def accepted_by_the_cloud(password: str) -> bool:
    """8 to 32 characters of three of its four classes, no character that a URL or a shell would change."""
    classes = [string.ascii_uppercase, string.ascii_lowercase, string.digits]
    present = sum(any(character in alphabet for character in password) for alphabet in classes)
    return 8 <= len(password) <= 32 and present >= 3 and password.isalnum() and password.isascii()


@given(seeds, st.text(min_size=1), st.text())
def test_every_password_fits_the_clouds_rules(seed: str, purpose: str, tenant: str) -> None:
    assert accepted_by_the_cloud(Passwords(seed).password(purpose, tenant))


def test_the_check_refuses_what_the_cloud_would() -> None:
    assert not accepted_by_the_cloud("short1A")
    assert not accepted_by_the_cloud("only-lower-case-and-dashes")


def test_a_password_is_of_its_seed_purpose_tenant_and_version_alone() -> None:
    passwords = Passwords(SEED)
    first = passwords.password("database-owner", "330106")
    assert first == Passwords(SEED).password("database-owner", "330106")
    others = [
        Passwords("01" * 32).password("database-owner", "330106"),
        passwords.password("database-application", "330106"),
        passwords.password("database-owner", "330112"),
        Passwords(SEED, {"database-owner": 2}).password("database-owner", "330106"),
    ]
    assert len({first, *others}) == 5


def test_what_was_derived_once_is_derived_for_ever() -> None:
    """A change of the derivation would change every password of every environment."""
    passwords = Passwords(SEED)
    assert passwords.password("database-owner", "330106") == "Ou6vTpPMvYTMAmrjWRheX5q5"
    assert passwords.token("client", "330106")[:16] == "4147289182cbffe1"


def test_a_tenants_own_version_rotates_that_tenant_alone() -> None:
    before, after = Passwords(SEED), Passwords(SEED, {"client/330106": 2})
    assert before.token("client", "330106") != after.token("client", "330106")
    assert before.token("client", "330112") == after.token("client", "330112")


@given(seeds)
def test_a_signing_key_is_a_scalar_of_the_curve(seed: str) -> None:
    scalar = int(Passwords(seed).signing_key("identity-signing"), 16)
    assert 1 <= scalar < P256_ORDER
    ec.derive_private_key(scalar, ec.SECP256R1())


def test_the_seed_is_not_shown() -> None:
    assert SEED not in repr(Passwords(SEED))
