"""The cloud of each environment that this process has been asked about, opened once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from infra.folder import EnvironmentFolder
from infra.local.plugin import lookup
from infra.local.plugin.binding import Binding, environment_of
from infra.local.plugin.declared import DeclaredStore
from infra.local.plugin.shapes import RealClass

if TYPE_CHECKING:
    from infra.local.cloud.cloud import Cloud


class Environments:
    """Thread-safe; a URN's stack (`local.hangzhou`) names its environment."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._stores: dict[str, DeclaredStore] = {}
        self._clouds: dict[str, Cloud] = {}
        self._bindings: dict[tuple[str, str], Binding] = {}

    def store(self, environment: str) -> DeclaredStore:
        with self._lock:
            if environment not in self._stores:
                self._stores[environment] = DeclaredStore(EnvironmentFolder(environment).cloud)
            return self._stores[environment]

    def binding(self, urn: str, token: str) -> Binding:
        environment = environment_of(urn)
        with self._lock:
            key = (environment, token)
            if key not in self._bindings:
                self._bindings[key] = self._bind(environment, token)
            return self._bindings[key]

    def _bind(self, environment: str, token: str) -> Binding:
        # Late: a preview without changes never loads the cloud, which is most of this plugin's weight.
        from infra.local.plugin.kept_binding import KeptBinding
        from infra.local.plugin.real_binding import RealBinding

        shape, store = lookup.shape_of(token), self.store(environment)
        if isinstance(shape, RealClass):
            return RealBinding(token, shape, self._cloud(environment), store)
        return KeptBinding(token, shape, self._cloud(environment), store, lookup.secrets_of(token))

    def _cloud(self, environment: str) -> Cloud:
        if environment not in self._clouds:
            from infra.local.cloud.cloud import Cloud

            self._clouds[environment] = Cloud(EnvironmentFolder(environment).cloud, environment)
        return self._clouds[environment]
