"""Files below the upload root, for the original's `pdf_path`. Nothing outside of it can be named."""

import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ragline.common.errors import NotFound

__all__ = ["open_upload"]

_ORIGINAL_ROOT = PurePosixPath("/app/storage/uploads")
"""The upload folder of the original's container: its documented paths keep working wherever the root is."""


def open_upload(root: Path, name: str) -> tuple[str, BinaryIO]:
    """Open a regular file below the root for reading.

    Every part of the path is opened relative to its parent without following links, so neither ``..`` nor a symbolic
    link swapped in at the last moment leads outside.

    Parameters
    ----------
    name
        A path relative to the root, or an absolute one that begins with it.

    Returns
    -------
    tuple[str, BinaryIO]
        The file's own name and the open file.

    Raises
    ------
    NotFound
        With one and the same text whether the file is absent, forbidden, a folder, a link or outside.
    """
    try:
        parts = _relative_parts(root, name)
        descriptor = _open_beneath(root, parts)
    except (OSError, ValueError) as error:
        raise NotFound("There is no such file in the upload folder") from error
    return parts[-1], os.fdopen(descriptor, "rb")


def _relative_parts(root: Path, name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    if "\0" in name or ".." in path.parts:
        raise ValueError(name)
    if path.is_absolute():
        base = next(
            (base for base in (PurePosixPath(root.absolute()), _ORIGINAL_ROOT) if path.is_relative_to(base)), None
        )
        if base is None:
            raise ValueError(name)
        path = path.relative_to(base)
    if not path.parts:
        raise ValueError(name)
    return path.parts


def _open_beneath(root: Path, parts: tuple[str, ...]) -> int:
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Without O_NONBLOCK the open of a named pipe would wait for a writer.
        descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(parts[-1])
    return descriptor
