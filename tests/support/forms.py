"""Forms as clients send them, and as they should not."""

from collections.abc import Sequence

__all__ = ["BOUNDARY", "FORM_TYPE", "form", "form_part"]

BOUNDARY = b"x-boundary-x"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY.decode()}"


def form(parts: Sequence[bytes], *, end: bytes = b"--" + BOUNDARY + b"--\r\n") -> bytes:
    """A body of these parts."""
    return b"".join(parts) + end


def form_part(name: str, data: bytes, *, file_name: str | None = None, headers: bytes = b"") -> bytes:
    """A part with its opening boundary; a file when it has a file name."""
    label = "" if file_name is None else f'; filename="{file_name}"'
    head = f'Content-Disposition: form-data; name="{name}"{label}\r\n'.encode("utf-8", "surrogateescape")
    return b"--" + BOUNDARY + b"\r\n" + head + headers + b"\r\n" + data + b"\r\n"
