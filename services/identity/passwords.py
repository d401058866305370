"""Password hashes: argon2id with OWASP's parameters, computed beside the event loop.

Two threads at most: argon2 lets go of the interpreter's lock, so two use two cores, and more would only delay the
loop. The queue is bounded: who would wait too long hears so at once.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type
from prometheus_client import Counter

from services.kernel.problems import Problem

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1
SHORTEST = 8
LONGEST = 128
LONGEST_TYPED = 256
"""As some keyboards send it, letters and their marks apart. What is longer is not looked at: to bring a text into one
form takes time by the square of the marks in it."""

EVALUATIONS = Counter("yiwang_password_evaluations", "Password hashes computed.", ["purpose"])
for _purpose in ("hash", "verify"):
    EVALUATIONS.labels(_purpose)

# What guessers try first, of the length that we accept. A breached-password service is not reachable from the hosts.
_COMMON = """
    12345678 123456789 1234567890 12341234 11223344 87654321 123123123 987654321 12344321 147258369 159357456
    password password1 passw0rd qwertyui qwerty123 qwertyuiop 1qaz2wsx 1q2w3e4r 1q2w3e4r5t asdfghjkl zxcvbnm123
    abc12345 abcd1234 a1234567 a12345678 aa123456 aa12345678 woaini1314 5201314520 1314520520 iloveyou admin123
    administrator zhejiang hangzhou
"""
COMMON = frozenset(_COMMON.split())


class Passwords:
    def __init__(self, threads: int = 2, queue: int = 200) -> None:
        self._hasher = PasswordHasher(
            time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, hash_len=32, salt_len=16, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2id")
        self._queue = queue
        self._waiting = 0
        self._dummy = self._hasher.hash("the password of nobody")

    async def hash(self, password: str) -> str:
        return await self._compute("hash", self._hash, normal(password))

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether the password is the stored one. For an account that is not there (None) it takes as long."""
        return await self._compute("verify", self._verify, stored, normal(password))

    def _hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(stored or self._dummy, password) and stored is not None
        except (VerificationError, InvalidHashError):
            return False

    async def _compute(
        self, purpose: str, work: Callable[Arguments, Result], *arguments: Arguments.args, **_: Arguments.kwargs
    ) -> Result:
        if self._waiting >= self._queue:
            raise Problem(503, "busy", "Too many log-ins at once, please try again.", headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            EVALUATIONS.labels(purpose).inc()
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def normal(password: str) -> str:
    """One form for what different keyboards send for the same characters (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def weakness(password: str, username: str = "") -> str | None:
    """Why this password will not do, in words for the person; None when it will."""
    too_long = f"密码最多 {LONGEST} 个字符"
    if len(password) > LONGEST_TYPED:
        return too_long
    password = normal(password)
    if len(password) < SHORTEST:
        return f"密码至少 {SHORTEST} 个字符"
    if len(password) > LONGEST:
        return too_long
    if "\x00" in password:
        return "密码含有无法使用的字符"
    if password.lower() in COMMON or len(set(password)) == 1:
        return "这个密码太常见，请换一个"
    if username and password.lower() == username.lower():
        return "密码不能与用户名相同"
    return None
