"""Life times and limits of identity: `YIWANG_IDENTITY_…` variables, each with the value for production."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class IdentitySettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="YIWANG_IDENTITY_", extra="ignore", frozen=True)

    session: timedelta = Field(default=timedelta(hours=12), description="from log-in to the next one, on all sites")
    code: timedelta = Field(default=timedelta(seconds=60), description="to redeem an authorization code")
    access_token: timedelta = timedelta(minutes=10)
    refresh_grace: timedelta = Field(
        default=timedelta(minutes=2),
        description="to ask for a lost answer again with a spent refresh token",
    )
    invitation: timedelta = timedelta(hours=72)

    attempt_window: timedelta = timedelta(minutes=15)
    attempts_from_address: int = Field(default=5, description="wrong passwords of an account from one address")
    attempts_of_account: int = Field(default=30, description="wrong passwords of an account from all strange browsers")
    attempts_at_address: int = Field(default=200, description="wrong passwords of all accounts from one address")
    registrations_at_address: int = Field(default=100, description="registrations from one address in a window")

    hashing_threads: int = Field(default=2, ge=1, le=2, description="more threads delay the event loop")
    hashing_queue: int = Field(default=200, description="hashes that may wait; beyond it the answer is 503")
