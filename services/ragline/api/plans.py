"""What a handler is given, worked out once: FastAPI reads a signature, a plan serves every request by it."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, cast

from fastapi import Request, Response
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette._utils import is_async_callable

__all__ = ["MISSING", "Call", "Plan"]

MISSING: Any = object()
"""In place of a value that the request does not have."""


class Call:
    """One request on its way to its handler.

    Parameters
    ----------
    body
        Its decoded body, or `MISSING`.

    Attributes
    ----------
    response
        Its headers go out with the answer.
    headers
        The first of each name.
    results
        What its dependencies gave so far.
    errors
        What was found wrong with it, as Pydantic tells it.
    """

    __slots__ = ("body", "errors", "headers", "request", "response", "results")

    def __init__(self, request: Request, body: Any) -> None:  # noqa: ANN401 - JSON, or bytes
        self.request = request
        self.body = body
        self.response = Response()
        self.response.raw_headers.clear()
        self.headers: dict[bytes, bytes] = dict(reversed(request.scope["headers"]))
        self.results: dict[Hashable, Any] = {}
        self.errors: list[dict[str, Any]] = []


class Plan:
    """How one function is called on behalf of a request: with parts of it, and with results of other functions.

    Parameters
    ----------
    dependant
        The function's signature, as FastAPI has read it.

    Raises
    ------
    TypeError
        The signature asks for something that no handler of ours needs, and that no plan therefore gives.
    """

    def __init__(self, dependant: Dependant) -> None:
        _check(dependant)
        self._function = cast("Callable[..., Awaitable[Any]]", dependant.call)
        scopes = [*(dependant.parent_oauth_scopes or ()), *(dependant.own_oauth_scopes or ())]
        self._key = (self._function, tuple(scopes))
        self._constants: dict[str, Any] = {}
        self._dependencies: list[tuple[str, Plan]] = []
        for needed in dependant.dependencies:
            name = needed.name or ""
            function: object = needed.call
            if isinstance(function, SecurityBase):
                # It stands there for the OpenAPI document.
                self._constants[name] = None
            else:
                self._dependencies.append((name, Plan(needed)))
        if dependant.security_scopes_param_name:
            self._constants[dependant.security_scopes_param_name] = SecurityScopes(scopes)
        self._parameters = _parameters(dependant)
        self._request_name = dependant.request_param_name
        self._response_name = dependant.response_param_name

    async def run(self, call: Call) -> Any:  # noqa: ANN401 - whatever the handler returns
        """What the function returns for this request.

        Raises
        ------
        RequestValidationError
            The request is not what its signature wants; it was not called.
        """
        arguments = await self._arguments(call)
        if call.errors:
            raise RequestValidationError(call.errors, body=None if call.body is MISSING else call.body)
        return await self._function(**arguments)

    async def _arguments(self, call: Call) -> dict[str, Any]:
        arguments = self._constants.copy()
        for name, needed in self._dependencies:
            arguments[name] = await needed._result(call)  # noqa: SLF001 - a plan of the same kind
        for parameter in self._parameters:
            arguments[parameter.name] = parameter.read(call)
        if self._request_name:
            arguments[self._request_name] = call.request
        if self._response_name:
            arguments[self._response_name] = call.response
        return arguments

    async def _result(self, call: Call) -> Any:  # noqa: ANN401 - whatever the dependency returns
        if self._key in call.results:
            return call.results[self._key]
        errors_before = len(call.errors)
        arguments = await self._arguments(call)
        if len(call.errors) > errors_before:
            return None
        result = call.results[self._key] = await self._function(**arguments)
        return result


class _Parameter:
    """One value of a request."""

    def __init__(self, model: ModelField, place: str, find: Callable[[Call], Any]) -> None:
        self.name = model.name
        self._model = model
        self._location = (place,) if place == "body" else (place, model.alias)
        self._find = find
        self._required = model.field_info.is_required()
        self._default = None if self._required else model.get_default()

    def read(self, call: Call) -> Any:  # noqa: ANN401 - of any type
        value = self._find(call)
        if value is not MISSING:
            value, errors = self._model.validate(value, loc=self._location)
            call.errors.extend(errors)
        elif self._required:
            call.errors.append({"type": "missing", "loc": self._location, "msg": "Field required", "input": None})
        else:
            return self._default
        return value


def _parameters(dependant: Dependant) -> Sequence[_Parameter]:
    return [
        *(_Parameter(model, "path", _in_path(model.alias)) for model in dependant.path_params),
        *(_Parameter(model, "query", _in_query(model.alias)) for model in dependant.query_params),
        *(_Parameter(model, "header", _in_headers(model.alias)) for model in dependant.header_params),
        *(_Parameter(model, "body", lambda call: call.body) for model in dependant.body_params),
    ]


def _in_path(name: str) -> Callable[[Call], Any]:
    return lambda call: call.request.path_params[name]


def _in_query(name: str) -> Callable[[Call], Any]:
    return lambda call: call.request.query_params.get(name, MISSING)


def _in_headers(name: str) -> Callable[[Call], Any]:
    key = name.lower().encode()

    def find(call: Call) -> Any:  # noqa: ANN401 - text, or nothing
        value = call.headers.get(key)
        return MISSING if value is None else value.decode("latin-1")

    return find


def _check(dependant: Dependant) -> None:
    models = [*dependant.path_params, *dependant.query_params, *dependant.header_params]
    unknown = [
        *dependant.cookie_params,
        *filter(None, [dependant.background_tasks_param_name, dependant.http_connection_param_name]),
        *(model.name for model in models if not _is_plain(model)),
        *dependant.body_params[1:],
    ]
    if unknown:
        raise TypeError(f"{dependant.call} asks for what no plan gives: {unknown}")
    if not is_async_callable(dependant.call):
        raise TypeError(f"{dependant.call} is no coroutine function: it would hold up all other requests")


def _is_plain(model: ModelField) -> bool:
    """Whether it is one value, whose default nobody can change."""
    schema = model._type_adapter.json_schema()  # noqa: SLF001 - FastAPI keeps it to itself
    return not {"array", "object"} & {schema.get("type")}
