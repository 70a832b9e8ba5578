"""How a request reaches its handler and the answer leaves: routes that FastAPI describes and `Plan`s serve."""

import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.routing import APIRoute
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override

from ragline.api.media_types import is_json
from ragline.api.plans import MISSING, Call, Plan
from ragline.common.errors import InvalidRequest

__all__ = ["PlannedApi", "PlannedRoute", "PlannedRouter"]


class PlannedRoute(APIRoute):
    """A route as FastAPI knows it, except that nothing is worked out again for each request."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        plan = Plan(self.dependant)

        async def serve(request: Request) -> Response:
            body = await _json(request) if self.body_field else MISSING
            call = Call(request, body)
            given = await plan.run(call)
            if isinstance(given, Response):
                return given
            reply = self._reply(given)
            reply.raw_headers.extend(call.response.raw_headers)
            return reply

        self._serve = serve
        return serve

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response = await self._serve(Request(scope, receive, send))
        await response(scope, receive, send)

    def _reply(self, given: Any) -> Response:  # noqa: ANN401 - whatever the handler returns
        status = self.status_code or HTTPStatus.OK
        if not isinstance(self.response_class, DefaultPlaceholder):
            return self.response_class(given, status)
        if self.response_field is None:
            raise TypeError(f"{self.name} returns no response, and does not say what else")
        value, errors = self.response_field.validate(given, loc=("response",))
        if errors:
            raise ResponseValidationError(errors, body=given)
        return Response(self.response_field.serialize_json(value), status, media_type="application/json")


class PlannedApi(FastAPI):
    """An app of planned routes, with no layer around them that does nothing for these."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of FastAPI
        # It would make spans of its own, and looks at each request whether it should.
        super().__init__(telemetry={"tracing": False, "metrics": False, "logs": False}, **options)
        self.router.route_class = PlannedRoute

    @override
    def build_middleware_stack(self) -> ASGIApp:
        """Our own layers around the one that turns errors into problems."""
        app: ASGIApp = ExceptionMiddleware(self.router, handlers=self.exception_handlers)
        for layer in reversed(self.user_middleware):
            app = layer.cls(app, *layer.args, **layer.kwargs)
        return app


class PlannedRouter(APIRouter):
    """Handlers of one part of the API, each an operation of its own name."""

    def __init__(self, *, prefix: str = "", tags: list[str]) -> None:
        super().__init__(
            prefix=prefix,
            tags=[*tags],
            route_class=PlannedRoute,
            generate_unique_id_function=lambda route: route.name,
        )


async def _json(request: Request) -> Any:  # noqa: ANN401 - JSON, or bytes of another type
    body = await request.body()
    if not body:
        return MISSING
    if not is_json(request):
        return body
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        wrong = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error"}
        raise RequestValidationError([wrong]) from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("There was an error parsing the body") from error
