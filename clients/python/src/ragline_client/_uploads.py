"""Documents on their way: read while they are sent, measured, and read again for another try."""

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from typing_extensions import override

__all__ = ["Body", "Part", "ProgressCallback", "Readable", "Source", "document_part"]

ProgressCallback = Callable[[int, int | None], None]
"""Called with the bytes sent and those there are in all, None when that is not known; a retry begins again at 0."""


class Readable(Protocol):
    """A binary file, or anything that can be read like one."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; none at the end."""


Source = str | os.PathLike[str] | bytes | BinaryIO | Readable


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One document of a form."""

    name: str
    source: Path | bytes | Readable

    @property
    def repeatable(self) -> bool:
        """Whether its bytes can be read a second time."""
        return isinstance(self.source, Path | bytes) or _seekable(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The form of an upload."""

    parts: Sequence[Part]
    metadata: Mapping[str, Any] | None = None
    progress: ProgressCallback | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it can be sent a second time."""
        return all(part.repeatable for part in self.parts)

    @contextmanager
    def opened(self) -> Iterator[dict[str, Any]]:
        """What httpx2 needs to send it once; fields go in front of files."""
        with ExitStack() as exits:
            files = [("file", (part.name, self._file(part, exits), "application/pdf")) for part in self.parts]
            data = {} if self.metadata is None else {"metadata": json.dumps(self.metadata)}
            yield {"files": files, "data": data}

    def _file(self, part: Part, exits: ExitStack) -> "_Measured":
        match part.source:
            case Path():
                return _MeasuredFile(exits.enter_context(part.source.open("rb")), self.progress)
            case bytes():
                return _MeasuredFile(io.BytesIO(part.source), self.progress)
            case file if _seekable(file):
                return _MeasuredFile(file, self.progress)
            case file:
                return _Measured(file, self.progress)


class _Measured:
    """Tells how much was read. Without `seek` and `tell`: httpx2 then does not ask for a length."""

    def __init__(self, file: Any, progress: ProgressCallback | None) -> None:  # noqa: ANN401 - any binary file
        self._file = file
        self._progress = progress
        self._sent = 0

    def read(self, size: int = -1) -> bytes:
        part: bytes = self._file.read(size)
        self._sent += len(part)
        if part and self._progress:
            self._progress(self._sent, self._total())
        return part

    def _total(self) -> int | None:
        return None


class _MeasuredFile(_Measured):
    """A file that can be read from its beginning again."""

    def __init__(self, file: Any, progress: ProgressCallback | None) -> None:  # noqa: ANN401 - any binary file
        super().__init__(file, progress)
        self._size: int = file.seek(0, os.SEEK_END)
        file.seek(0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._sent = self._file.seek(offset, whence)
        return self._sent

    def tell(self) -> int:
        return self._sent

    @override
    def _total(self) -> int | None:
        return self._size


def document_part(source: Source, name: str | None) -> Part:
    """A document of a form.

    Parameters
    ----------
    source
        A path, bytes, or a binary file; a file that can seek is sent from its beginning.
    name
        Name of the document; default: that of the file.

    Raises
    ------
    ValueError
        There is no name.
    """
    if isinstance(source, str | os.PathLike):
        source = Path(source)
    own = source if isinstance(source, Path) else getattr(source, "name", None)
    name = name or (Path(own).name if isinstance(own, str | Path) else None)
    if not name:
        raise ValueError("These bytes have no name of their own: give one, such as name='handbook.pdf'")
    return Part(name=name, source=source)


def _seekable(file: Any) -> bool:  # noqa: ANN401 - any binary file
    return hasattr(file, "seekable") and bool(file.seekable())
