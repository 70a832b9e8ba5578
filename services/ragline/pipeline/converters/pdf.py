"""PDF to pages: each document in a throw-away process with limits; a second parser reads what the first cannot."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, Self, cast

import structlog

from ragline.common.errors import (
    DocumentError,
    Encrypted,
    MalformedPdf,
    ParserCrashed,
    ParserTimeout,
    TooLarge,
    TooManyPages,
)
from ragline.common.models import Page
from ragline.pipeline.converters import pdf_child

__all__ = ["Carry", "ConvertedPages", "Engine", "PdfConverter"]

Engine = Literal["pdfium", "pypdf"]

_OTHER_ENGINE: dict[Engine, Engine] = {"pdfium": "pypdf", "pypdf": "pdfium"}

_MAX_CHILDREN = 3
"""Processes per run: the preferred engine, the other one for a page it cannot read, and the preferred one again."""

_POLL_SECONDS = 0.25
"""How often `should_stop` is asked."""

_SLOW_PAGE_SECONDS = 5.0
"""A page that was in hand this long when a run was stopped may never end: the next run begins with the other engine."""

_READ_BYTES = 1 << 20
"""Most bytes taken from a pipe at once."""

_STDERR_TAIL_BYTES, _DETAIL_CHARS = 2048, 200
"""What is kept of a child's stderr, for the log, and of its account of a problem."""

_MALLOC_TOP_PAD_BYTES = 16 << 20
"""glibc's M_TOP_PAD for the child. PDFium frees most of its memory after each page; without this margin glibc returns
it to the kernel and faults it in again for the next page: 70,000 faults and a third of the time on 300 pages."""

_PASSED_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH")
"""Variables a child sees: enough for the interpreter to start, and no secret among them."""

_VERDICTS = {error.code: error for error in (Encrypted, MalformedPdf, TooLarge, TooManyPages)}
"""What a child can say of a document by its code; a code beside these means that the parser gave up."""

_PRECEDENCE: tuple[type[DocumentError], ...] = (ParserTimeout, ParserCrashed, MalformedPdf)
"""The failures that the other engine may repair. Of several, the first of these kinds names the outcome: a time limit
goes before a crash, because an operator can move it."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carry:
    """What one run on a document hands to the next one, beside the page to go on with.

    Attributes
    ----------
    cpu_seconds
        CPU time spent on the document so far, seconds.
    text_bytes
        Text read so far, UTF-8 bytes.
    engine
        What to begin with: not an engine that has just failed or lingered on that very page; None: the preferred one.
    """

    cpu_seconds: float = 0.0
    text_bytes: int = 0
    engine: Engine | None = None


_NOTHING_READ = Carry()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedPages:
    """What one run read.

    Attributes
    ----------
    pages
        The pages from `first_page` on, without a gap.
    page_count
        Pages of the whole document; 0 when the run was stopped before that was known.
    next_page
        Where the next run has to go on, 1 for the first page; None when the last page was read.
    engine
        What read the last of the pages.
    carry
        For the next run; holds the CPU time too.
    """

    pages: list[Page]
    page_count: int
    next_page: int | None
    engine: Engine
    carry: Carry


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfConverter:
    """Read the text of PDF documents that may be hostile.

    Parameters
    ----------
    engine
        The parser that is tried first; the other one is the fallback.
    max_pages
        Most pages of one document.
    max_text_bytes
        Most text of one document, UTF-8 bytes.
    memory_bytes
        Address space of a parser's process, bytes.
    cpu_seconds
        CPU time of one parser's process, seconds.
    document_cpu_seconds
        CPU time of all processes that ever work on one document, seconds.
    silence_seconds
        Longest wait for the next page, seconds: the bound of a parser that hangs without using the CPU.
    """

    engine: Engine
    max_pages: int
    max_text_bytes: int
    memory_bytes: int
    cpu_seconds: int = 20
    document_cpu_seconds: int = 60
    silence_seconds: float = 30.0

    def run(
        self, path: Path, *, should_stop: Callable[[], bool], first_page: int = 1, carry: Carry = _NOTHING_READ
    ) -> ConvertedPages:
        """Read pages until the last one or until told to stop.

        Parameters
        ----------
        path
            The document; it must not change meanwhile.
        should_stop
            Asked several times a second; when it says yes, what has been read so far is the result.
        first_page, carry
            `next_page` and `carry` of the run before.

        Raises
        ------
        Encrypted, TooManyPages, TooLarge
            As soon as one parser says so.
        MalformedPdf
            When no parser can make sense of a page or of the whole file.
        ParserCrashed
            When none can and at least one crashed or ran out of memory.
        ParserTimeout
            When none can and at least one met a time limit, or when the document used up its CPU time.
        OSError
            When the file cannot be opened.
        """
        path.open("rb").close()
        reading = _Reading(
            limits=self, first_page=first_page, cpu_seconds=carry.cpu_seconds, text_bytes=carry.text_bytes
        )
        engine = carry.engine or self.engine
        failures: list[DocumentError] = []
        while True:
            began_at = reading.next_page
            failure = self._read(path, engine, reading, should_stop)
            if failure is None:
                return reading.result(engine, next_engine=self._next_engine(engine, reading, began_at))
            stuck = bool(failures) and reading.next_page == began_at
            failures.append(failure)
            if stuck or len(failures) == _MAX_CHILDREN:
                raise _verdict(failures)
            engine = _OTHER_ENGINE[engine]

    def _next_engine(self, engine: Engine, reading: "_Reading", began_at: int) -> Engine:
        """What the next run begins with when this one was told to stop."""
        if reading.waited_seconds >= _SLOW_PAGE_SECONDS:
            return _OTHER_ENGINE[engine]
        return engine if reading.next_page == began_at else self.engine

    def _read(
        self, path: Path, engine: Engine, reading: "_Reading", should_stop: Callable[[], bool]
    ) -> DocumentError | None:
        """Let one child read on. The result is why it could not; None: it finished or was told to stop."""
        reading.waited_seconds = 0.0
        if should_stop():
            return None
        failure: DocumentError | None = None
        with _Child(self._request(path, engine, reading)) as child:
            try:
                for line in child.lines(should_stop=should_stop, silence_seconds=self.silence_seconds):
                    reading.take(line)
                    if reading.finished:
                        break
            except _PRECEDENCE as error:
                failure = error
        reading.cpu_seconds += child.cpu_seconds
        reading.waited_seconds = child.waited_seconds
        if reading.finished or (child.stopped and failure is None):
            return None
        failure = failure or child.cause_of_death()
        _log.warning("pdf engine failed", engine=engine, page=reading.next_page, **failure.to_log(), **child.to_log())
        return type(failure)(f"{engine} at page {reading.next_page}: {failure.detail}")

    def _request(self, path: Path, engine: Engine, reading: "_Reading") -> pdf_child.Request:
        left_seconds = int(self.document_cpu_seconds - reading.cpu_seconds)
        if left_seconds < 1:
            raise ParserTimeout(f"{self.document_cpu_seconds} CPU-seconds were used up by page {reading.next_page}")
        return pdf_child.Request(
            engine=engine,
            path=str(path),
            first_page=reading.next_page,
            max_pages=self.max_pages,
            max_text_bytes=self.max_text_bytes - reading.text_bytes,
            memory_bytes=self.memory_bytes,
            cpu_seconds=min(self.cpu_seconds, left_seconds),
            parent_pid=os.getpid(),
        )


@dataclass(slots=True, kw_only=True)
class _Reading:
    """How far one run has come; CPU time and text are those of all runs."""

    limits: PdfConverter
    first_page: int
    cpu_seconds: float
    text_bytes: int
    finished: bool = False
    page_count: int = 0
    pages: list[Page] = field(default_factory=list)
    waited_seconds: float = 0.0

    @property
    def next_page(self) -> int:
        return self.first_page + len(self.pages)

    def result(self, engine: Engine, *, next_engine: Engine) -> ConvertedPages:
        return ConvertedPages(
            pages=self.pages,
            page_count=self.page_count,
            next_page=None if self.finished else self.next_page,
            engine=engine,
            carry=Carry(cpu_seconds=self.cpu_seconds, text_bytes=self.text_bytes, engine=next_engine),
        )

    def take(self, line: bytes) -> None:
        """Add one frame, or raise its verdict. The child may be in an attacker's hands: nothing in it is believed."""
        try:
            frame = json.loads(line)
        except (ValueError, RecursionError):
            frame = None
        match frame:
            case {"pages": int(page_count)}:
                self._take_page_count(page_count)
            case {"number": int(number), "text": str(text)} if number == self.next_page <= self.page_count:
                self._take_page(Page(number=number, text=text))
            case {"cpu_seconds": float()} if self.next_page > self.page_count:
                self.finished = True
            case {"error": str(code), "detail": str(detail)}:
                raise _VERDICTS.get(code, ParserCrashed)(detail[:_DETAIL_CHARS])
            case _:
                raise ParserCrashed("it wrote something that is no frame")

    def _take_page(self, page: Page) -> None:
        try:
            self.text_bytes += len(page.text.encode())
        except UnicodeEncodeError:
            raise ParserCrashed("it wrote text that is not Unicode") from None
        if self.text_bytes > self.limits.max_text_bytes:
            raise TooLarge(f"more than {self.limits.max_text_bytes} bytes of text at page {page.number}")
        self.pages.append(page)

    def _take_page_count(self, page_count: int) -> None:
        if page_count > self.limits.max_pages:
            raise TooManyPages(f"{page_count} pages, at most {self.limits.max_pages} are read")
        # Parsers may count the pages of a damaged file differently: going on by another count would lose pages unseen.
        if page_count != (self.page_count or page_count) or page_count < self.first_page - 1:
            raise MalformedPdf(f"the number of pages is not certain ({page_count})")
        self.page_count = page_count


class _Child:
    """One `pdf_child` process, dead and reaped when its ``with`` block ends."""

    def __init__(self, request: pdf_child.Request) -> None:
        self.cpu_seconds = 0.0
        self.stopped = False
        self.waited_seconds = 0.0
        self._cpu_limit_seconds = request.cpu_seconds
        self._exit_code = 0
        self._line_start = bytearray()
        self._max_line_bytes = 2 * request.max_text_bytes + _READ_BYTES  # JSON at most doubles clean text
        self._stderr_tail = b""
        environment = {name: os.environ[name] for name in _PASSED_ENVIRONMENT if name in os.environ}
        self._process = subprocess.Popen(
            # Not -m: with -I and a path, neither the environment nor the working directory decides what is imported.
            [sys.executable, "-I", pdf_child.__file__, json.dumps(request._asdict())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment, "MALLOC_TOP_PAD_": str(_MALLOC_TOP_PAD_BYTES)},
            start_new_session=True,
        )
        self._stdout = cast("IO[bytes]", self._process.stdout)
        self._stderr = cast("IO[bytes]", self._process.stderr)
        os.set_blocking(self._stderr.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._selector.register(self._stderr, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Not Popen.kill and Popen.wait: they would reap the process and lose its CPU time.
        os.kill(self._process.pid, signal.SIGKILL)
        _pid, status, usage = os.wait4(self._process.pid, 0)
        self._exit_code = self._process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        self._keep_stderr()
        for opened in (self._selector, self._stdout, self._stderr):
            opened.close()

    def cause_of_death(self) -> DocumentError:
        """Why it ended without a last frame; to be asked once it is dead."""
        if -self._exit_code == signal.SIGXCPU or self.cpu_seconds >= self._cpu_limit_seconds:
            return ParserTimeout(f"it used up its {self._cpu_limit_seconds} CPU-seconds")
        if self._exit_code < 0:
            return ParserCrashed(f"it was ended by a signal: {signal.strsignal(-self._exit_code)}")
        return ParserCrashed(f"it ended with status {self._exit_code}")

    def lines(self, *, should_stop: Callable[[], bool], silence_seconds: float) -> Iterator[bytes]:
        """The lines it writes; ends early, with `stopped` set, when told to. Raises when silent or senseless."""
        asked_at = heard_at = time.monotonic()
        while not self.stopped and (lines := self._wait(_POLL_SECONDS)) is not None:
            yield from lines
            now = time.monotonic()
            heard_at = now if lines else heard_at
            self.waited_seconds = now - heard_at
            if self.waited_seconds >= silence_seconds:
                raise ParserTimeout(f"no page came for {silence_seconds:g} seconds")
            if now - asked_at >= _POLL_SECONDS:
                asked_at = now
                self.stopped = should_stop()

    def to_log(self) -> dict[str, object]:
        """Fields for one log line; to be asked once it is dead."""
        return {"exit_code": self._exit_code, "stderr": self._stderr_tail.decode(errors="replace")}

    def _keep_stderr(self) -> bool:
        """Read what there is; False at the end of it."""
        data = self._stderr.read(_READ_BYTES) or b""
        self._stderr_tail = (self._stderr_tail + data)[-_STDERR_TAIL_BYTES:]
        return bool(data)

    def _split(self, data: bytes) -> list[bytes]:
        """The lines that are complete now that more data came."""
        head, newline, tail = data.rpartition(b"\n")
        if not newline:
            self._line_start += data
            if len(self._line_start) > self._max_line_bytes:
                raise ParserCrashed("it wrote more than any page can hold")
            return []
        lines = bytes(self._line_start + head).split(b"\n")
        self._line_start = bytearray(tail)
        return lines

    def _wait(self, timeout_seconds: float) -> list[bytes] | None:
        """The lines completed by what comes next, if anything comes in time; None when it will write no more."""
        ready = [key.fileobj for key, _ in self._selector.select(timeout_seconds)]
        if self._stderr in ready and not self._keep_stderr():
            self._selector.unregister(self._stderr)
        if self._stdout not in ready:
            return []
        data = os.read(self._stdout.fileno(), _READ_BYTES)
        return self._split(data) if data else None


def _verdict(failures: Sequence[DocumentError]) -> DocumentError:
    """The one error that stands for several failures."""
    worst = next(kind for kind in _PRECEDENCE if any(isinstance(failure, kind) for failure in failures))
    return worst("; ".join(failure.detail for failure in failures))
