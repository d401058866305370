"""Counts what is built while a service answers: clients, TLS contexts, pools, templates, validators, patterns, keys;
also what is done in vain: hops to threads, searches for modules that are not there."""

from __future__ import annotations

import importlib
import ssl
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from re import _compiler  # type: ignore[attr-defined]
from typing import Any
from unittest import mock

import aiobotocore.session
import aiohttp
import anyio.to_thread
import asyncpg
import httpx
import jinja2
import jsonschema
import pydantic
import redis.asyncio
from joserfc.jwk import ECKey
from pydantic._internal._model_construction import ModelMetaclass
from starlette.applications import Starlette

# What costs more than a request should: owner and name of what builds it.
DEAR: tuple[tuple[Any, str], ...] = (
    (ssl.SSLContext, "__new__"),
    (httpx.AsyncClient, "__init__"),
    (httpx.Client, "__init__"),
    (aiohttp.ClientSession, "__init__"),
    (aiobotocore.session.AioSession, "__init__"),
    (aiobotocore.session.AioSession, "create_client"),
    (asyncpg.Pool, "__init__"),
    (redis.asyncio.Redis, "__init__"),
    (ThreadPoolExecutor, "__init__"),
    (jinja2.Environment, "__init__"),
    (jinja2.Environment, "compile"),
    (jsonschema.Draft202012Validator, "__init__"),
    (pydantic.TypeAdapter, "__init__"),
    (ModelMetaclass, "__new__"),
    (_compiler, "compile"),
    (ECKey, "import_key"),
    (Starlette, "build_middleware_stack"),
    (anyio.to_thread, "run_sync"),  # a dependency or route that is no coroutine goes to a thread and back
    (importlib._bootstrap, "_find_spec"),  # a module that is not there is looked for each time
)


@contextmanager
def constructions() -> Iterator[Counter[str]]:
    """How often each was built so far."""
    built: Counter[str] = Counter()
    with ExitStack() as patches:
        for owner, name in DEAR:
            patches.enter_context(_counting(owner, name, built))
        yield built


def _counting(owner: Any, name: str, built: Counter[str]) -> AbstractContextManager[Any]:
    original = getattr(owner, name)

    def counted(*arguments: Any, **more: Any) -> Any:
        built[f"{owner.__name__}.{name}"] += 1
        return original(*arguments, **more)

    return mock.patch.object(owner, name, counted)
