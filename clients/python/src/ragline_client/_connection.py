"""What both clients know about the way to the service."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx2

from ragline_client._calls import Call
from ragline_client._patience import Patience
from ragline_client._version import __version__
from ragline_client.errors import ConnectionFailed, Timeout, UnexpectedReply, error_of_reply

__all__ = ["Connection"]

T = TypeVar("T")

_CONNECT_SECONDS = 5.0
_LEAST_SILENCE_SECONDS = 5.0


class Connection:
    """The service's address, and how patient a client is with it.

    Parameters
    ----------
    timeout
        Seconds of silence after which the service counts as gone.
    max_retries
        Most further tries of one call.
    max_retry_seconds
        Time after the first try of a call in which further ones may begin.
    """

    def __init__(self, base_url: str, *, timeout: float, max_retries: int, max_retry_seconds: float) -> None:
        try:
            url = httpx2.URL(base_url)
        except httpx2.InvalidURL as error:
            raise ValueError(f"base_url is not an address: {error}") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError("base_url begins with http:// or https:// and names a host")
        self._base_url = url
        # Without a user and a password, should somebody write them into the address.
        self.place = f"{url.scheme}://{url.netloc.decode('ascii')}"
        self._timeout_seconds = timeout
        self._max_retries = max_retries
        self._max_retry_seconds = max_retry_seconds

    def checked(self, response: httpx2.Response) -> httpx2.Response:
        """The same, if it is a success; the body of another one has been read.

        Raises
        ------
        ApiError
            It is a refusal.
        """
        if not response.is_success:
            raise error_of_reply(response.status_code, response.headers, response.content)
        return response

    @contextmanager
    def failures(self) -> Iterator[None]:
        """httpx2's errors as ours."""
        try:
            yield
        except (httpx2.ReadTimeout, httpx2.WriteTimeout) as error:
            raise Timeout(f"{self.place} was silent for too long") from error
        except httpx2.TransportError as error:
            raise ConnectionFailed(
                f"The connection to {self.place} failed: {str(error) or type(error).__name__}"
            ) from error
        except httpx2.HTTPError as error:
            raise UnexpectedReply(f"{self.place} answered with something that is not Ragline's: {error}") from error

    def http_options(self, api_key: str | None) -> dict[str, Any]:
        """How either of httpx2's clients is made. The key is kept there alone, in a header that httpx2 masks."""
        headers = {"User-Agent": f"ragline-client/{__version__}"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {_checked_key(api_key)}"
        return {"base_url": self._base_url, "headers": headers}

    def patience(self, call: Call[Any]) -> Patience:
        """The patience with one call."""
        within = self._max_retry_seconds if call.within_seconds is None else call.within_seconds
        retries = self._max_retries if call.repeatable else 0
        return Patience(retries=retries, within_seconds=min(within, self._max_retry_seconds))

    @contextmanager
    def request(self, call: Call[Any]) -> Iterator[dict[str, Any]]:
        """What httpx2 needs to send a call once."""
        options: dict[str, Any] = {
            "method": call.method,
            "url": call.path,
            "headers": call.headers,
            "timeout": self._timeout(call),
        }
        if call.params:
            options["params"] = call.params
        if call.json is not None:
            options["json"] = call.json
        if call.body is None:
            yield options
            return
        with call.body.opened() as form:
            yield {**options, **form}

    def reply(self, call: Call[T], response: httpx2.Response) -> T:
        """What a reply means; its body has been read.

        Raises
        ------
        ApiError
            It is a refusal.
        UnexpectedReply
            It is not Ragline's.
        """
        try:
            body = self.checked(response).json()
        except ValueError as error:
            raise UnexpectedReply(f"{self.place} answered {call.path} with something that is not JSON") from error
        return call.parse(body)

    def _timeout(self, call: Call[Any]) -> httpx2.Timeout:
        silence = self._timeout_seconds
        if call.within_seconds is not None:
            silence = min(silence, max(_LEAST_SILENCE_SECONDS, call.within_seconds))
        return httpx2.Timeout(silence + call.hold_seconds, connect=min(silence, _CONNECT_SECONDS))


def _checked_key(api_key: str) -> str:
    # Further down a bad header is refused with its value in the message.
    key = api_key.strip()
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ValueError("The API key is empty or has characters that a header cannot carry")
    return key
