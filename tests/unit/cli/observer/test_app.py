import gzip
import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from ragline.cli.observer.main import create_app
from ragline.cli.observer.otlp import MAX_MESSAGE_BYTES
from ragline.cli.traces.jaeger import read_trace
from ragline.common.span_names import JOB_ID
from tests.support.otlp import TRACE, WireSpan, message

PROTOBUF = {"Content-Type": "application/x-protobuf"}
ROOT = WireSpan(name="POST /v1/documents", span_id="00000000000000aa", duration_us=90_000)
EVIL = "<script>alert(1)</script>\"'&"
CHILD = WireSpan(
    name=f"convert {EVIL}",
    span_id="00000000000000bb",
    parent_id="00000000000000aa",
    start_us=40_000,
    duration_us=20_000,
    error=f"lost {EVIL}",
    attributes={f"key {EVIL}": f"value {EVIL}", JOB_ID: "job_1"},
    links=((TRACE, "00000000000000cc"), ("b" * 32, "00000000000000dd")),
    events=(("exception", 45_000),),
)


@pytest.fixture
def observer() -> Iterator[TestClient]:
    with TestClient(create_app(), base_url="http://127.0.0.1") as client:
        yield client


def send(observer: TestClient, *spans: WireSpan) -> None:
    assert observer.post("/v1/traces", content=message(*spans), headers=PROTOBUF).status_code == 200


def test_what_was_sent_is_given_in_jaegers_json(observer: TestClient) -> None:
    send(observer, ROOT)
    body = gzip.compress(message(CHILD, service="ragline-worker"))
    reply = observer.post("/v1/traces", content=body, headers={**PROTOBUF, "Content-Encoding": "gzip"})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/x-protobuf")
    spans = {span.span_id: span for span in read_trace(observer.get(f"/api/traces/{TRACE.upper()}").json())}
    assert spans["00000000000000aa"].service == "ragline-api"
    assert spans["00000000000000bb"].message == f"lost {EVIL}"
    assert len(spans["00000000000000bb"].links) == 2


def test_an_unknown_trace_is_404_as_jaeger_says_it(observer: TestClient) -> None:
    reply = observer.get(f"/api/traces/{TRACE}")
    assert (reply.status_code, reply.json()["errors"][0]["code"], reply.json()["data"]) == (404, 404, None)
    page = observer.get(f"/trace/{TRACE}")
    assert page.status_code == 404
    assert f"no trace {TRACE}" in page.text
    assert "of this name" in observer.get("/trace/x").text


@pytest.mark.parametrize("path", ["/", f"/trace/{TRACE}", "/?q=convert"])
def test_pages_hold_text_and_no_markup_of_others(observer: TestClient, path: str) -> None:
    send(observer, ROOT, CHILD)
    reply = observer.get(path)
    assert reply.status_code == 200
    assert "<script" not in reply.text
    assert " style=" not in reply.text
    assert "script-src" not in reply.headers["content-security-policy"]
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")


def test_the_list_says_what_a_trace_was(observer: TestClient) -> None:
    assert "No trace has arrived yet" in observer.get("/").text
    send(observer, ROOT, CHILD)
    text = observer.get("/").text
    assert f'<a href="/trace/{TRACE}">POST /v1/documents</a>' in text
    assert "90 ms" in text
    assert '<span class="error">1</span>' in text
    assert "POST /v1/documents" in observer.get("/?q=job_1").text
    nothing = observer.get("/", params={"q": f"absent {EVIL}"}).text
    assert "No trace holds this text" in nothing
    assert 'value="absent &lt;script&gt;' in nothing


def test_the_waterfall_has_a_bar_for_each_span_at_its_place(observer: TestClient) -> None:
    send(observer, ROOT, CHILD)
    text = observer.get(f"/trace/{TRACE}").text
    bars = re.findall(r'<rect x="(\d+)" y="0" width="(\d+)" height="10" class="(\w+)">', text.partition('"axis"')[2])
    assert bars == [("0", "1000", "work"), ("444", "222", "error")]
    assert f'<a href="/trace/{TRACE}#00000000000000cc">' in text
    assert f'<a href="/trace/{"b" * 32}#00000000000000dd">' in text
    assert "exception after 5 ms" in text
    assert re.findall(r'<details id="(\w+)"( open="")?>', text) == [(ROOT.span_id, ""), (CHILD.span_id, ' open=""')]
    assert "lost &lt;script&gt;" in text
    assert f"ragline trace {TRACE}" in text
    assert "ragline why job_1" in text


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/json"}, b"{}", 415),
        (PROTOBUF, b"\x0a\xff{}", 400),
        ({**PROTOBUF, "Content-Encoding": "gzip"}, b"no gzip", 400),
        (PROTOBUF, bytes(MAX_MESSAGE_BYTES + 1), 413),
    ],
)
def test_what_is_no_export_is_refused(observer: TestClient, headers: dict[str, str], body: bytes, status: int) -> None:
    assert observer.post("/v1/traces", content=body, headers=headers).status_code == status


def test_a_page_of_the_web_with_a_name_of_its_own_reads_nothing(observer: TestClient) -> None:
    assert observer.get("/", headers={"Host": "evil.example.org"}).status_code == 400


def test_health_is_asked_without_a_trace(observer: TestClient) -> None:
    assert observer.get("/healthz").text == "ok"
