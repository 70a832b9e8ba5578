"""What a body is said to be."""

import re

from starlette.requests import Request

__all__ = ["is_json", "media_type_of"]

_JSON = re.compile(r"application/([^/]+\+)?json")


def is_json(request: Request) -> bool:
    """Whether the body is said to be JSON, or something written in it."""
    return _JSON.fullmatch(media_type_of(request)) is not None


def media_type_of(request: Request) -> str:
    """The body's media type in lower case, without parameters; empty when the request names none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
