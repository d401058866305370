"""A small issuer: keys, tokens by client_credentials, and tokens of people made on the spot."""

from __future__ import annotations

import threading
import time
from base64 import b64decode
from typing import Any

import uvicorn
from fastapi import FastAPI, Form, Header, HTTPException
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.integration.backends import free_port, listening
from tests.support.waiting import wait_until


class Issuer:
    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = ECKey.generate_key("P-256", {"kid": "first", "use": "sig", "alg": "ES256"})
        self.clients: dict[str, str] = {}
        self._server = uvicorn.Server(
            uvicorn.Config(self._app(), host="127.0.0.1", port=self.port, log_level="error", lifespan="off")
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        wait_until(lambda: listening(self.port), 10, "the issuer listens")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)

    def token(
        self, sub: str, *, client_id: str = "330106", scope: str = "openid", seconds: int = 600, **more: Any
    ) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": "yiwang",
            "sub": sub,
            "client_id": client_id,
            "scope": scope,
            "iat": now,
            "exp": now + seconds,
            **more,
        }
        return jwt.encode({"alg": "ES256", "kid": self.key.kid}, claims, self.key)

    def citizen(self, sub: str, name: str = "张三") -> str:
        return self.token(sub, name=name, roles=[])

    def officer(self, sub: str, tenant: str, role: str = "clerk", name: str = "李四") -> str:
        roles = [{"tenant": tenant, "department": "政务服务中心", "role": role}]
        return self.token(sub, client_id=tenant, name=name, roles=roles)

    def operator(self) -> str:
        return self.token("operator", client_id="operator", scope="operator")

    def relay(self, tenant: str) -> str:
        return self.token(f"tenant:{tenant}", client_id=tenant, scope="relay")

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/jwks")
        async def jwks() -> dict[str, Any]:
            return {"keys": [self.key.as_dict(private=False)]}

        @app.post("/token")
        async def token(grant_type: str = Form(), scope: str = Form(), authorization: str = Header()) -> dict[str, Any]:
            client_id, _, secret = b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            if grant_type != "client_credentials" or self.clients.get(client_id) != secret:
                raise HTTPException(401)
            return {
                "access_token": self.token(f"tenant:{client_id}", client_id=client_id, scope=scope),
                "expires_in": 600,
                "token_type": "Bearer",
            }

        return app
