from datetime import UTC, datetime

import pytest

from clients.python.tests.conftest import MakeClient
from clients.python.tests.fake import FakeApi, problem, reply
from ragline_client import Answer, Citation, Collection, Document, Failure, NotFound, Progress, UnexpectedReply, Usage

DOCUMENTS = "GET /v1/collections/papers/documents"
QUERY = "POST /v1/collections/papers/queries"


def document(number: int) -> dict[str, object]:
    return {"id": f"doc_{number}", "name": f"{number}.pdf", "collection": "papers", "state": "indexed"}


def test_documents_come_from_all_pages(make_client: MakeClient) -> None:
    pages = [
        {"documents": [document(1), document(2)], "next": "/v1/collections/papers/documents?limit=2&cursor=Mg"},
        {"documents": [], "next": "/v1/collections/papers/documents?limit=2&cursor=NA"},
        {"documents": [document(3)], "next": None},
    ]
    api = FakeApi({DOCUMENTS: [reply(page) for page in pages]})

    found = list(make_client(api).documents("papers"))

    assert [document.id for document in found] == ["doc_1", "doc_2", "doc_3"]
    assert [dict(request.url.params) for request in api.requests] == [
        {"limit": "100"},
        {"limit": "2", "cursor": "Mg"},
        {"limit": "2", "cursor": "NA"},
    ]


def test_a_page_is_asked_for_when_it_is_needed(make_client: MakeClient) -> None:
    page = {"documents": [document(1)], "next": "/v1/collections/papers/documents?cursor=MQ"}
    api = FakeApi({DOCUMENTS: [reply(page)]})

    documents = iter(make_client(api).documents("papers"))

    assert len(api.requests) == 0
    assert next(documents).id == "doc_1"
    assert len(api.requests) == 1


def test_the_key_does_not_go_to_another_address_for_the_next_page(make_client: MakeClient) -> None:
    page = {"documents": [document(1)], "next": "http://elsewhere.test/v1/other?cursor=MQ"}
    api = FakeApi({DOCUMENTS: [reply(page), reply({"documents": []})]})

    assert len(list(make_client(api).documents("papers"))) == 1

    assert [str(request.url).partition("?")[0] for request in api.requests] == [
        "http://ragline.test/v1/collections/papers/documents"
    ] * 2


def test_collections_of_a_service_without_pages_are_one_page(make_client: MakeClient) -> None:
    api = FakeApi({"GET /v1/collections": [reply({"collections": [{"name": "papers", "generation": 3}]})]})

    assert list(make_client(api).collections()) == [Collection(name="papers", generation=3)]


def test_a_newer_service_may_say_more_and_an_older_one_less(make_client: MakeClient) -> None:
    newer = {
        **document(1),
        "metadata": {"year": 2024},
        "error": {"code": "no_text", "hint": "new"},
        "job": {"id": "job_1", "status": "running", "progress": {"done": 3}, "result": {"any": ["thing"]}},
        "created_at": "2025-01-02T03:04:05Z",
        "workers": ["one"],
        "colour": "blue",
        "pages": None,
    }
    api = FakeApi({"GET /v1/documents/doc_1": [reply(newer), reply(document(1))]})
    client = make_client(api)

    known, least = client.document("doc_1"), client.document("doc_1")

    assert known.metadata == {"year": 2024}
    assert known.error == Failure(code="no_text")
    assert (known.job.progress, known.job.result) == (Progress(done=3), {"any": ["thing"]})
    assert known.created_at == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (known.workers, known.pages) == (("one",), 0)
    assert least == Document(id="doc_1", name="1.pdf", collection="papers", state="indexed")


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": None},
        {"pages": "many"},
        {"pages": True},
        {"created_at": "yesterday"},
        {"created_at": 5},
        {"workers": "one"},
        {"job": {"id": "job_1"}},
        {"metadata": []},
    ],
)
def test_a_value_of_the_wrong_type_is_not_passed_on(make_client: MakeClient, wrong: dict[str, object]) -> None:
    api = FakeApi({"GET /v1/documents/doc_1": [reply({**document(1), **wrong})]})

    with pytest.raises(UnexpectedReply, match="not a Document"):
        make_client(api).document("doc_1")


def test_a_question_sends_what_was_chosen_and_nothing_else(make_client: MakeClient) -> None:
    citation = {"document_id": "doc_1", "document": "a.pdf", "page": 2, "quote": "Because.", "score": 1}
    answer = {
        "job_id": "job_1",
        "answer": "Because.",
        "answered": True,
        "citations": [citation],
        "usage": {"prompt_tokens": 5},
        "generation": 7,
    }
    api = FakeApi({QUERY: [reply(answer)]})
    client = make_client(api)

    found = client.ask("papers", "Why?")
    client.ask("papers", "Why?", top_k=3, filter={"year": 2024}, temperature=0.0, min_generation=4)

    assert found == Answer(
        job_id="job_1",
        text="Because.",
        answered=True,
        citations=(Citation(document_id="doc_1", document="a.pdf", page=2, quote="Because.", score=1.0),),
        usage=Usage(prompt_tokens=5),
        generation=7,
    )
    bodies = [request.content.decode() for request in api.requests]
    assert bodies == [
        '{"question":"Why?"}',
        '{"question":"Why?","top_k":3,"filter":{"year":2024},"temperature":0.0,"min_generation":4}',
    ]
    assert [request.extensions["timeout"]["read"] for request in api.requests] == [90, 120]


def test_a_misspelt_option_is_refused(make_client: MakeClient) -> None:
    with pytest.raises(TypeError, match="topk"):
        make_client(FakeApi({})).ask("papers", "Why?", topk=3)


def test_a_name_cannot_leave_its_place_in_the_address(make_client: MakeClient) -> None:
    api = FakeApi({"DELETE /v1/documents/..%2Fcollections%3Fa": [problem(404)]})
    client = make_client(api)

    with pytest.raises(NotFound):
        client.delete_document("../collections?a")
    for name in ("", ".", ".."):
        with pytest.raises(ValueError, match="is not a name"):
            client.delete_collection(name)


@pytest.mark.parametrize(
    ("call", "address"),
    [
        (lambda client: client.delete_collection("papers"), "DELETE /v1/collections/papers"),
        (lambda client: client.delete_document("doc_1"), "DELETE /v1/documents/doc_1"),
        (lambda client: client.verify("papers"), "POST /v1/collections/papers/verifications"),
    ],
)
def test_work_gives_a_job_to_wait_for(make_client: MakeClient, call: MakeClient, address: str) -> None:
    ended = reply({"id": "job_9", "status": "succeeded", "result": {"consistent": True}})
    api = FakeApi({address: [reply({"job_id": "job_9"}, 202)], "GET /v1/jobs/job_9": [ended]})

    assert call(make_client(api)).wait().result == {"consistent": True}


def test_a_service_may_live_below_a_path(make_client: MakeClient) -> None:
    api = FakeApi({"GET /rag/v1/collections/papers": [reply({"name": "papers"})]})
    api.url = "http://ragline.test/rag/"

    assert make_client(api).collection("papers").name == "papers"
