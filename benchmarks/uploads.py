"""Uploads of 100 MB: how fast they go beside a plain copy with a checksum, and what memory they take.

The copy reads a file, digests it and writes it, as an upload must, but without a network, a form or a ledger. Both take
turns, on the same disk; the memory is the highest that the API ever had.
"""

import asyncio
import hashlib
import time
from pathlib import Path

from benchmarks.support.load import run, spread
from benchmarks.support.parts import Service, api, memory_bytes, valkey_server
from benchmarks.support.report import Report, Run, main
from tests.support.forms import BOUNDARY, FORM_TYPE, form_part

_SIZE_BYTES = 100 * 10**6
_PART_BYTES = 2**18
_ROUNDS = 7
_MEGABYTE = 10**6


def _copy(source: Path, target: Path) -> float:
    began = time.perf_counter()
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as written:
        while part := read.read(_PART_BYTES):
            digest.update(part)
            written.write(part)
    took = time.perf_counter() - began
    target.unlink()
    return took


async def _upload(port: int, number: int, data: bytes, *, as_form: bool) -> float:
    name = f"{number}-{'form' if as_form else 'raw'}.pdf"
    # Other bytes each time: the same would be found unchanged and removed.
    head = b"%%PDF-1.4 %s\n" % name.encode()
    if as_form:
        opening = form_part("file", head, file_name=name).removesuffix(b"\r\n")
        ending, kind, path = b"\r\n--" + BOUNDARY + b"--\r\n", FORM_TYPE, ""
    else:
        opening, ending, kind, path = head, b"", "application/pdf", f"?name={name}"
    length = len(opening) + len(data) + len(ending)
    lines = ["Host: benchmark", f"Content-Type: {kind}", f"Content-Length: {length}", "Connection: close", "", ""]
    request = "\r\n".join([f"POST /v1/collections/benchmark/documents{path} HTTP/1.1", *lines]).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    writer.write(request + opening)
    for begin in range(0, len(data), _PART_BYTES):
        writer.write(data[begin : begin + _PART_BYTES])
        await writer.drain()
    writer.write(ending)
    answer = await reader.read()
    took = time.perf_counter() - began
    assert answer.startswith(b"HTTP/1.1 202"), answer
    writer.close()
    return took


def _rounds(this: Run, service: Service, data: bytes) -> dict[str, list[float]]:
    source = this.folder / "source.pdf"
    source.write_bytes(data)
    rates: dict[str, list[float]] = {"plain copy": [], "raw": [], "form": []}
    for number in range(this.rounds(_ROUNDS)):
        seconds = {
            "plain copy": _copy(source, this.folder / "copy.pdf"),
            "raw": run(_upload(service.port, number, data, as_form=False)),
            "form": run(_upload(service.port, number, data, as_form=True)),
        }
        for name, took in seconds.items():
            rates[name].append(len(data) / _MEGABYTE / took)
    return rates


async def _at_once(port: int, data: bytes, count: int) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(_upload(port, 1000 + number, data, as_form=True) for number in range(count)))
    return count * len(data) / _MEGABYTE / (time.perf_counter() - began)


def uploads(this: Run) -> Report:
    """Run it."""
    data = bytes(range(256)) * ((10**6 if this.quick else _SIZE_BYTES) // 256)
    report = Report("", "MB/s", "share of the copy", "peak memory, MB")
    with valkey_server(this.folder / "valkey") as (redis_url, _), api(this.folder, redis_url) as service:
        service.upload("benchmark", "small.pdf", b"%PDF-1.4 small")
        before = memory_bytes(service.process, "VmHWM") / _MEGABYTE
        rates = _rounds(this, service, data)
        peak = memory_bytes(service.process, "VmHWM") / _MEGABYTE
        together = run(_at_once(service.port, data, 4))
        peak_together = memory_bytes(service.process, "VmHWM") / _MEGABYTE
    for name, values in rates.items():
        shares = [own / copy for own, copy in zip(values, rates["plain copy"], strict=True)]
        report.row(name, spread(values, 0), spread(shares), "" if name == "plain copy" else f"{peak:.0f}")
    report.row("4 forms at once", f"{together:.0f}", "", f"{peak_together:.0f}")
    report.note(f"Before the first large upload the API had {before:.0f} MB, the two processes of it together.")
    report.target("memory that uploads of 100 MB add", peak_together - before, at_most=100, unit=" MB")
    return report


if __name__ == "__main__":
    main(uploads, title="uploads of 100 MB")
