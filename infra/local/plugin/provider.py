"""The provider's side of the engine's protocol: each call is a few lines between the wire and a binding."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from infra.local.plugin import VERSION, invokes, lookup, references, schema
from infra.local.plugin.binding import Actual, Binding, Refused, environment_of, name_of, token_of
from infra.local.plugin.check import Failure, check_object
from infra.local.plugin.classes import ResourceClass, UnknownClass, provider_inputs, resource_class
from infra.local.plugin.declared import DeclaredStore
from infra.local.plugin.diff import Change, Difference, differences
from infra.local.plugin.environments import Environments
from infra.local.plugin.logs import EngineLog
from infra.local.plugin.values import (
    UNKNOWN,
    Values,
    from_struct,
    plain,
    to_struct,
    wrap,
    wrap_like,
)

DIFF_KINDS = {
    (Change.ADD, False): provider_pb2.PropertyDiff.ADD,
    (Change.ADD, True): provider_pb2.PropertyDiff.ADD_REPLACE,
    (Change.DELETE, False): provider_pb2.PropertyDiff.DELETE,
    (Change.DELETE, True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    (Change.UPDATE, False): provider_pb2.PropertyDiff.UPDATE,
    (Change.UPDATE, True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


class LocalProvider(provider_pb2_grpc.ResourceProviderServicer):
    def __init__(self, log: EngineLog) -> None:
        self._log = log
        self._environments = Environments()
        self._answered: list[tuple[DeclaredStore, int]] = []
        self._adopted: set[tuple[str, str]] = set()
        self._own_urn = ""
        self._settings: Values = {}

    def end_in_order(self) -> None:
        """The engine ends us itself, so what we answered is in its state; one that was killed cannot."""
        for store, number in self._answered:
            store.settle_creations([number])

    # --- the provider itself

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: Any) -> Any:
        with self._answering(context, "the schema"):
            return provider_pb2.GetSchemaResponse(schema=schema.document())

    def CheckConfig(self, request: Any, context: Any) -> Any:
        news = from_struct(request.news)
        given = {
            name: _configured(value) for name, value in news.items() if name not in ("version", "pluginDownloadURL")
        }
        failures = list(check_object(given, provider_inputs()))
        return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(failures))

    def DiffConfig(self, request: Any, context: Any) -> Any:
        differing = differences(from_struct(request.old_inputs), from_struct(request.news), frozenset({"region"}))
        return _diff_response(differing)

    def Configure(self, request: Any, context: Any) -> Any:
        self._own_urn = request.urn
        self._settings = plain(from_struct(request.args))
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        with self._answering(context, request.tok):
            answer = invokes.invoke(request.tok, plain(from_struct(request.args)), self._settings)
            return provider_pb2.InvokeResponse(**{"return": to_struct(answer)})

    # --- resources

    def Check(self, request: Any, context: Any) -> Any:
        token, news = token_of(request.urn), from_struct(request.news)
        try:
            definition = resource_class(token)
        except UnknownClass as error:
            failure = Failure("", str(error))
            return provider_pb2.CheckResponse(inputs=request.news, failures=_failures([failure]))
        with self._answering(context, request.urn):
            rules = lookup.rules_of(token)
            failures = list(check_object(news, definition.inputs)) or list(rules.failures(news))
            self._warn_of_old(request.urn, definition, news)
            inputs = wrap(news, lookup.secrets_of(token))
            return provider_pb2.CheckResponse(inputs=to_struct(inputs), failures=_failures(failures))

    def Diff(self, request: Any, context: Any) -> Any:
        token, ignored = token_of(request.urn), set(request.ignoreChanges)
        with self._answering(context, request.urn):
            self._store(request.urn).settle(token, request.id, request.urn)
            replace = lookup.replaced_on(token)
            differing = differences(from_struct(request.old_inputs), from_struct(request.news), replace)
        return _diff_response(
            [difference for difference in differing if difference.path not in ignored and difference.top not in ignored]
        )

    def Create(self, request: Any, context: Any) -> Any:
        token, inputs = token_of(request.urn), from_struct(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=to_struct(_foreseen(resource_class(token), inputs)))
        with self._answering(context, request.urn):
            made, number = self._create(request.urn, token, plain(inputs))
            if context.is_active():
                self._answered.append((self._store(request.urn), number))
            return provider_pb2.CreateResponse(id=made.id, properties=to_struct(_outputs(token, made, inputs)))

    def Read(self, request: Any, context: Any) -> Any:
        token, old = token_of(request.urn), from_struct(request.inputs)
        with self._answering(context, request.urn):
            realised = self._binding(request.urn).read(request.id)
            if realised is None:
                self._store(request.urn).gone(token, request.id)
                return provider_pb2.ReadResponse(id="")
            if request.properties.fields:
                self._store(request.urn).settle(token, request.id, request.urn)
            inputs = _seen_inputs(token, old, realised.inputs)
            outputs = _outputs(token, realised, inputs)
            return provider_pb2.ReadResponse(id=realised.id, properties=to_struct(outputs), inputs=to_struct(inputs))

    def Update(self, request: Any, context: Any) -> Any:
        token, news = token_of(request.urn), from_struct(request.news)
        if request.preview:
            old = from_struct(request.olds)
            inputs = resource_class(token).inputs
            kept = {name: value for name, value in old.items() if name not in inputs or name in news}
            return provider_pb2.UpdateResponse(properties=to_struct({**kept, **news}))
        with self._answering(context, request.urn):
            references.refuse_missing(self._store(request.urn), token, plain(news))
            made = self._binding(request.urn).update(request.urn, request.id, plain(news))
            return provider_pb2.UpdateResponse(properties=to_struct(_outputs(token, made, news)))

    def Delete(self, request: Any, context: Any) -> Any:
        if (token_of(request.urn), request.id) in self._adopted:
            return empty_pb2.Empty()  # a replacement was asked for and found what it was to replace: that is it now
        with self._answering(context, request.urn):
            references.refuse_held(self._store(request.urn), token_of(request.urn), request.id)
            self._binding(request.urn).delete(request.id)
            return empty_pb2.Empty()

    # --- inside

    def _binding(self, urn: str) -> Binding:
        return self._environments.binding(urn, token_of(urn))

    def _store(self, urn: str) -> DeclaredStore:
        return self._environments.store(environment_of(urn))

    def _create(self, urn: str, token: str, inputs: Values) -> tuple[Actual, int]:
        """Adopts what an interrupted creation made; whatever a state has or had stands beside what is made now."""
        binding, store = self._binding(urn), self._store(urn)
        references.refuse_missing(store, token, inputs)
        creation = store.begin(urn)
        declared = store.made_by(creation)
        if declared is not None:
            self._log.info(f"adopts {declared.id}, made by an update that was interrupted", urn)
            changes = differences(declared.inputs, inputs, lookup.replaced_on(token))
            if any(change.replaces for change in changes):
                binding.delete(declared.id)
                creation = store.begin(urn)
            else:
                self._adopted.add((token, declared.id))
        return binding.create(creation, inputs), creation.number

    def _warn_of_old(self, urn: str, definition: ResourceClass, news: Values) -> None:
        if definition.deprecated:
            self._log.warning(definition.deprecated, urn)
        for name in news:
            property = definition.inputs.get(name)
            if property and property.deprecated:
                self._log.warning(f"{name}: {property.deprecated}", urn)

    @contextmanager
    def _answering(self, context: Any, subject: str) -> Iterator[None]:
        """Turn a refusal into the engine's error, with the resource's name and the reason."""
        try:
            yield
        except Refused as error:
            self._abort(context, subject, str(error))
        except UnknownClass as error:
            self._abort(context, subject, str(error))
        except grpc.RpcError:
            raise
        except Exception as error:
            self._log.debug_traceback(error, subject)
            self._abort(context, subject, f"the local cloud failed: {type(error).__name__}: {error}")

    def _abort(self, context: Any, subject: str, reason: str) -> None:
        named = subject
        if subject.startswith("urn:"):
            named = f"{token_of(subject).rpartition(':')[2]} {name_of(subject)!r}"
        context.abort(grpc.StatusCode.UNKNOWN, f"{named}: {reason}")


def _configured(value: Any) -> Any:
    """The engine passes a provider's settings as JSON texts; a plain text is one already."""
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return value if isinstance(parsed, int | float) and not isinstance(parsed, bool) else parsed


def _failures(failures: Iterable[Failure]) -> list[Any]:
    return [provider_pb2.CheckFailure(property=failure.path, reason=failure.reason) for failure in failures]


def _diff_response(differing: list[Difference]) -> Any:
    changes = provider_pb2.DiffResponse.DIFF_SOME if differing else provider_pb2.DiffResponse.DIFF_NONE
    detailed = {
        difference.path: provider_pb2.PropertyDiff(
            kind=DIFF_KINDS[difference.change, difference.replaces], inputDiff=True
        )
        for difference in differing
    }
    return provider_pb2.DiffResponse(
        changes=changes,
        diffs=sorted({difference.top for difference in differing}),
        replaces=sorted({difference.top for difference in differing if difference.replaces}),
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )


def _foreseen(definition: ResourceClass, inputs: Values) -> Values:
    """Outputs of a create that has not happened: what was given, and the rest unknown."""
    given = {name: value for name, value in inputs.items() if value is not None}
    return {**dict.fromkeys(definition.state, UNKNOWN), **given}


def _outputs(token: str, made: Actual, inputs: Values) -> Values:
    """What the state keeps: inputs as they were wrapped, and the computed values, the secret ones wrapped."""
    return wrap({**inputs, **made.computed}, lookup.secrets_of(token))


def _seen_inputs(token: str, old: Values, inputs: Values) -> Values:
    """The inputs as they are now: what has not changed as the engine gave it, so that its secrets stay wrapped."""
    if not old:
        return wrap(inputs, lookup.secrets_of(token))
    seen: Values = {}
    for name, value in inputs.items():
        before = old.get(name)
        unchanged = before is not None and plain(before) == value
        seen[name] = before if unchanged else wrap_like(value, before)
    return wrap(seen, lookup.secrets_of(token))
