"""The main job on real parts: upload PDFs, ask, get cited answers; and what happens when the input is bad."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import pdfs
from tests.support.stack import Stack

SAMPLES = Path("samples")
QUESTIONS: list[dict[str, Any]] = json.loads((SAMPLES / "questions.json").read_text())


@pytest.fixture(scope="module")
def samples(stack: Stack) -> Stack:
    """The service with the sample documents in collection `samples`."""
    submissions = [stack.upload("samples", path.name, path.read_bytes()) for path in sorted(SAMPLES.glob("*.pdf"))]
    for submission in submissions:
        job = stack.finished_job(submission["job_id"])
        assert job["status"] == "succeeded", job
    return stack


@pytest.mark.parametrize("question", QUESTIONS[:1], ids=lambda question: question["question"])
def test_the_demo_question_is_answered_with_its_page(samples: Stack, question: dict[str, Any]) -> None:
    answer = samples.ask("samples", question["question"])

    assert answer["answered"]
    first = answer["citations"][0]
    assert (first["document"], first["page"]) == (question["document"], question["page"])
    assert all(expected in answer["answer"] for expected in question["answer_contains"])
    assert first["quote"] in answer["answer"] or answer["answer"]


def test_most_sample_questions_cite_the_right_page(samples: Stack) -> None:
    right = 0
    for question in QUESTIONS:
        pages = {
            (found["document"], found["page"]) for found in samples.ask("samples", question["question"])["citations"]
        }
        right += (question["document"], question["page"]) in pages

    # Dense retrieval alone misses some; 24 of 28 were right when this floor was set at 80 %.
    assert right >= 0.8 * len(QUESTIONS)


def test_a_question_without_evidence_says_so_in_a_field(samples: Stack) -> None:
    answer = samples.ask("samples", "zxqv wlkj pfft 8812 qqq?")

    assert answer["answered"] is False
    assert answer["citations"] == []


def test_the_stored_chunks_equal_the_manifests(samples: Stack) -> None:
    report = samples.verify("samples")

    assert report["consistent"], report
    assert report["documents"] == 3
    assert report["chunks"] == samples.client.get("/v1/collections/samples").json()["chunks"] > 100


def test_the_same_bytes_again_cost_nothing(samples: Stack) -> None:
    data = (SAMPLES / "annual-report.pdf").read_bytes()
    before = samples.client.get("/v1/collections/samples").json()["generation"]

    again = samples.upload("samples", "annual-report.pdf", data)

    assert (again["unchanged"], again["status"]) == (True, "succeeded")
    assert samples.finished_job(again["job_id"])["status"] == "succeeded"
    assert samples.client.get("/v1/collections/samples").json()["generation"] == before


def test_a_changed_document_replaces_its_chunks(stack: Stack) -> None:
    first = stack.ingest("changing", "note.pdf", pdfs.text_pdf(["The vault code is 1111.", "Kept page about otters."]))
    second = stack.ingest(
        "changing",
        "note.pdf",
        pdfs.text_pdf(["A page in front.", "The vault code is 2222.", "Kept page about otters."]),
    )

    assert first["document_id"] == second["document_id"]
    assert second["result"]["embedded"] == 2  # the otters were there already
    answer = stack.ask("changing", "What is the vault code?")
    assert "2222" in answer["answer"]
    assert "1111" not in json.dumps(answer)
    otters = stack.ask("changing", "Which page is about otters?")["citations"][0]
    assert otters["page"] == 3
    assert stack.verify("changing")["consistent"]


def test_a_deleted_document_is_gone_at_once_and_for_good(stack: Stack) -> None:
    job = stack.ingest("deleting", "secret.pdf", pdfs.text_pdf(["The password of the day is heron."]))

    deletion = stack.client.delete(f"/v1/documents/{job['document_id']}").json()

    assert stack.ask("deleting", "What is the password of the day?")["answered"] is False
    assert stack.finished_job(deletion["job_id"])["status"] == "succeeded"
    report = stack.verify("deleting")
    assert (report["documents"], report["chunks"]) == (0, 0)
    files = (path for path in (stack.folder / "objects").rglob("*") if path.is_file())
    assert not [path for path in files if job["document_id"] in str(path)]


def test_an_answer_streams_and_can_be_resumed(samples: Stack) -> None:
    question = QUESTIONS[0]["question"]
    path = "/v1/collections/samples/queries"
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    with samples.client.stream("POST", path, json={"question": question}, headers=headers) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        job_path = reply.headers["location"]
        events = _events("\n".join(reply.iter_lines()))

    kinds = [event["event"] for event in events]
    assert kinds[-1] == "done"
    assert {"progress", "token", "citation"} <= set(kinds)
    text = "".join(json.loads(event["data"])["text"] for event in events if event["event"] == "token")
    job = samples.client.get(job_path).json()
    assert text == job["result"]["answer"]
    rest = samples.client.get(f"{job_path}/events", headers={"Last-Event-ID": events[1]["id"]})
    assert _events(rest.text) == events[2:]


def test_the_same_question_is_answered_again_until_a_document_comes(stack: Stack) -> None:
    stack.ingest("repeated", "a.pdf", pdfs.text_pdf(["The password of the day is heron."]))
    question = "What is the password of the day?"
    first, again = stack.ask("repeated", question), stack.ask("repeated", f" {question} ")
    assert (first["cached"], again["cached"]) == (False, True)
    assert (again["answer"], again["citations"]) == (first["answer"], first["citations"])
    stack.ingest("repeated", "b.pdf", pdfs.text_pdf(["Otters sleep in rafts."]))
    assert stack.ask("repeated", question)["cached"] is False


def test_a_collection_is_deleted_with_its_documents(stack: Stack) -> None:
    for name in ("a.pdf", "b.pdf", "c.pdf"):
        job = stack.ingest("dropped", name, pdfs.text_pdf([f"The password of {name} is heron."]))
    reply = stack.client.delete("/v1/collections/dropped")
    assert reply.status_code == 202
    assert stack.client.get("/v1/collections/dropped").status_code == 404
    assert stack.finished_job(reply.json()["job_id"])["status"] == "succeeded"
    assert stack.client.get(f"/v1/documents/{job['document_id']}").json()["state"] == "deleted"
    files = (path for path in (stack.folder / "objects").rglob("*") if path.is_file())
    assert not [path for path in files if job["document_id"] in str(path)]
    # The name is free, and nothing of the old documents answers.
    stack.ingest("dropped", "new.pdf", pdfs.text_pdf(["Otters sleep in rafts."]))
    assert stack.ask("dropped", "What is the password of c.pdf?")["citations"] == []
    assert stack.verify("dropped")["chunks"] == 1


def test_an_upload_s_generation_is_waited_for(stack: Stack) -> None:
    upload = stack.upload("awaited", "a.pdf", pdfs.text_pdf(["The password of the day is heron."]))
    body = {"question": "What is the password of the day?", "min_generation": upload["generation"]}
    reply = stack.client.post("/v1/collections/awaited/queries", json=body)
    assert reply.json()["answered"] is True
    beyond = {**body, "min_generation": upload["generation"] + 1}
    refused = stack.client.post("/v1/collections/awaited/queries", json=beyond)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


def test_metadata_chooses_the_documents_of_an_answer(stack: Stack) -> None:
    for year, bird in ((2024, "heron"), (2025, "otter")):
        files = {"file": (f"{year}.pdf", _password(bird))}
        data = {"metadata": json.dumps({"year": year})}
        job = stack.client.post("/v1/collections/filtered/documents", data=data, files=files).json()
        stack.finished_job(job["job_id"])
    for year, bird in ((2024, "heron"), (2025, "otter")):
        body = {"question": "What is the password of the day?", "filter": {"year": year}}
        answer = stack.client.post("/v1/collections/filtered/queries", json=body).json()
        assert bird in answer["answer"]
        assert {citation["document"] for citation in answer["citations"]} == {f"{year}.pdf"}


def _password(bird: str) -> bytes:
    return pdfs.text_pdf([f"The password of the day is {bird}."])


def test_an_answer_can_be_fetched_later(samples: Stack) -> None:
    body = {"question": QUESTIONS[0]["question"]}
    reply = samples.client.post("/v1/collections/samples/queries", json=body, headers={"Prefer": "respond-async"})

    assert reply.status_code == 202
    job = samples.finished_job(reply.headers["location"].rpartition("/")[2])
    assert job["result"]["answered"]


def test_the_original_pipeline_and_query(stack: Stack) -> None:
    (stack.folder / "uploads" / "doc.pdf").write_bytes(pdfs.text_pdf(["The main topic of this text is beekeeping."]))
    # The paths of the original's documentation.
    pipeline = stack.client.post(
        "/rag/pipeline",
        json={"pdf_path": "/app/storage/uploads/doc.pdf", "persist_directory": "/app/storage/vectorstores/my_docs"},
    ).json()
    assert stack.finished_job(pipeline["job_id"])["status"] == "succeeded"
    for task, task_id in pipeline["task_ids"].items():
        assert stack.client.get(f"/tasks/status/{task_id}").json()["status"] == "Completed", task
    question = {
        "question": "What is the main topic?",
        "persist_directory": "/app/storage/vectorstores/my_docs",
        "top_k": 3,
    }

    answer = stack.client.post("/rag/query/sync", json=question).json()

    assert "beekeeping" in answer["answer"]
    assert answer["citations"][0]["page"] == 1
    assert stack.finished_task("/rag/query", question)["result"]["answer"] == answer["answer"]


@pytest.mark.parametrize(
    ("path", "body", "result"),
    [
        ("/tasks/calculate/add", {"x": 5, "y": 10}, 15),
        ("/tasks/calculate/divide", {"dividend": 20, "divisor": 4}, 5.0),
        ("/tasks/workflow/chain", {"x": 5, "y": 10, "divisor": 3}, 5.0),
        ("/tasks/workflow/parallel", {"x": 10, "y": 5, "z": 2}, 20.0),
    ],
)
def test_the_original_calculations(stack: Stack, path: str, body: dict[str, int], result: float) -> None:
    status = stack.finished_task(path, body)

    assert (status["status"], status["result"]) == ("Completed", result)


def test_where_is_my_document(samples: Stack) -> None:
    documents = samples.client.get("/v1/collections/samples/documents", params={"limit": 2}).json()
    following = samples.client.get(documents["next"]).json()
    document = samples.client.get(documents["documents"][0]["links"]["self"]).json()

    assert len(documents["documents"]) + len(following["documents"]) == 3
    assert following["next"] is None
    assert document["state"] == "indexed"
    assert document["job"]["next"] == "Nothing: the job has ended"
    assert document["job"]["trace_id"]
    assert document["pages"] > 1


def _events(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if "event:" in block]
    return [dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")) for block in blocks]
