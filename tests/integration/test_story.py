"""The story of a product team, told by the guide's curl, by our client, by OpenAI's and by LangChain's.

Key, upload, progress, ask, stream, delete: against the whole service, which demands keys.
"""

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ragline_client import AsyncRagline, AuthenticationError, CitationEvent, DoneEvent, NotFound, Ragline, TokenEvent
from ragline_client.langchain import RaglineRetriever
from tests.support import pdfs
from tests.support.documented import blocks, typed_in
from tests.support.keys import client_of, made_key
from tests.support.stack import Stack, running_stack

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "api.md"
CLIENT = ROOT / "clients" / "python" / "src"

QUESTION = "What is the code of the vault?"
PAGES = ["A page about otters.", "The code of the vault is 4711."]

_GUIDE_SECONDS = 180

_SAYS = {
    r"^export": r"Copy it now: it will not be shown again",
    r"-F file=@samples/employee-handbook.pdf$": r'"job_id":"job_\w+".*"generation":1,',
    r"text/event-stream": (
        r'(?s)event: token\ndata: \{"text":.*26 weeks.*event: citation\n.*"page":19,.*event: done\n'
        r'data: \{"state":"succeeded"'
    ),
    r"^job=.*manuals": r'"status":"succeeded".*"next":"Nothing: the job has ended"',
    r"If-None-Match": r"^unchanged: 304$",
    r"Last-Event-ID": r"(?s)event: progress.*event: done.*event: progress.*event: done",
    r"documents/batch": r'"annual-report\.pdf","submission":\{"job_id".*"device-manual\.pdf","submission":\{"job_id"',
    r"--data-binary": r'"generation":3,',
    r'"filter"': r'1\.35 pounds.*"document":"annual-report\.pdf"',
    r"respond-async": r'"status":"succeeded".*60 days',
    r"no-cache": r'four months.*"cached":false',
    r"/v1/chat/completions": r'"object":"chat\.completion".*40 working days.*"citations":\[\{',
    r"/v1/embeddings": r'"model":"all-MiniLM-L6-v2","data":\[\{"object":"embedding","index":0,"embedding":\[-?0\.',
    r"^from openai": r"(?s)six days.*\[employee-handbook\.pdf, page 15\]",
    r"^from langchain_openai": r"(?s)£480.*\[employee-handbook\.pdf, page 37\]",
    r"^from ragline_client import Ragline$(?!(?s:.*)ChatOpenAI)": r"(?s)TokenEvent.*CitationEvent.*DoneEvent.*\n4$",
    r"keys create --name dashboard": r"(?s)rk_.*dashboard",
    r"ratelimit": r'^"general";q=2000;w=60\n"general";r=\d+;t=\d+$',
    r"for attempt": r'^(\{"job_id":"job_\w+".*\})\1$',
    r'"top_k": 1000': r'"code":"invalid_request".*"pointer":"/body/top_k"',
    r"^while": r'(?s)"next":"/v1/collections/library/documents\?.*\n.*"next":null',
    r"-X DELETE": r'"kind":"drop".*"status":"succeeded"',
    r"/rag/query/sync": r"three years",
}
"""What a block of the guide that holds the one says is the other."""


@dataclass(frozen=True, kw_only=True)
class Team:
    """Whose story it is."""

    url: str
    key: str

    def openai(self, **options: Any) -> openai.OpenAI:  # noqa: ANN401 - whatever it takes
        return openai.OpenAI(**{"base_url": f"{self.url}/v1", "api_key": self.key, "max_retries": 0, **options})

    def ragline(self) -> Ragline:
        return Ragline(self.url, api_key=self.key)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service that demands keys and counts requests."""
    settings = {
        "API_KEYS": "static-key-of-the-story",
        "ENABLE_AUTH": "true",
        "RATE_LIMIT_GENERAL_PER_MINUTE": "2000",
        "RATE_LIMIT_RAG_PER_MINUTE": "1000",
    }
    with running_stack(tmp_path_factory.mktemp("story"), settings) as running:
        yield running


@pytest.fixture
def team(stack: Stack, request: pytest.FixtureRequest) -> Team:
    """A team with a tenant of its own."""
    tenant = re.sub(r"\W", "-", request.node.name)[:60]
    return Team(url=str(stack.client.base_url), key=made_key(stack, tenant=tenant)["key"])


def vault(folder: Path) -> Path:
    path = folder / "vault.pdf"
    path.write_bytes(pdfs.text_pdf(PAGES))
    return path


def guide() -> list[tuple[str, str]]:
    """The blocks to be run, with their languages."""
    found = [block for block in blocks(GUIDE.read_text(encoding="utf-8")) if block[0] in {"bash", "python"}]
    assert len(found) >= 20
    return found


def said_by_the_guide(stack: Stack, folder: Path) -> list[tuple[str, str]]:
    """Each block and what it printed; all were typed into one shell, as a reader does."""
    script = []
    for number, (language, text) in enumerate(guide()):
        program = folder / f"{number}.py"
        program.write_text(text, encoding="utf-8")
        run = f"{sys.executable} -W error {program}" if language == "python" else text
        script.append(f"printf '\\n=== {number}\\n'\n{run}")
    env = {**stack.environment, "COLUMNS": "200", "PYTHONPATH": str(CLIENT), "RAGLINE_URL": str(stack.client.base_url)}
    said = typed_in("\n".join(script), folder=ROOT, env=env, timeout_seconds=_GUIDE_SECONDS)
    outputs = re.split(r"\n=== \d+\n", said)[1:]
    return [(text, output.strip()) for (_, text), output in zip(guide(), outputs, strict=True)]


@pytest.mark.slow
@pytest.mark.timeout(_GUIDE_SECONDS + 60)
@pytest.mark.skipif(not (ROOT / ".venv/bin/ragline").exists(), reason="the guide's commands need .venv (make install)")
def test_the_guide_does_what_it_says(stack: Stack, tmp_path: Path) -> None:
    told = said_by_the_guide(stack, tmp_path)

    for held, says in _SAYS.items():
        found = [(text, said) for text, said in told if re.search(held, text, re.MULTILINE)]
        assert found, f"no block of the guide holds {held}"
        assert all(re.search(says, said, re.MULTILINE) for _, said in found), f"{held}: {found}"
    assert [text.split()[0] for text, said in told if not said] == ["api()"]


def test_the_story_with_our_client(team: Team, tmp_path: Path) -> None:
    with team.ragline() as client:
        job = client.upload("vaults", vault(tmp_path), metadata={"year": 2024})
        seen: list[str] = []
        assert job.wait(timeout_seconds=60, on_progress=lambda state: seen.append(state.status)).status == "succeeded"
        assert seen[-1] == "succeeded"

        answer = client.ask("vaults", QUESTION, top_k=1, min_generation=job.submission.generation)
        assert "4711" in answer.text
        assert (answer.citations[0].document, answer.citations[0].page) == ("vault.pdf", 2)

        with client.stream("vaults", QUESTION, filter={"year": 2024}) as stream:
            events = list(stream)
        assert "4711" in "".join(event.text for event in events if isinstance(event, TokenEvent))
        assert 2 in {event.citation.page for event in events if isinstance(event, CitationEvent)}
        assert isinstance(events[-1], DoneEvent)

        client.delete_document(job.document_id or "").wait(timeout_seconds=60)
        assert client.ask("vaults", QUESTION).answered is False
        client.delete_collection("vaults").wait(timeout_seconds=60)
        assert list(client.collections()) == []
        with pytest.raises(NotFound):
            client.collection("vaults")


def test_the_story_with_our_asynchronous_client(team: Team, tmp_path: Path) -> None:
    async def story() -> None:
        async with AsyncRagline(team.url, api_key=team.key) as client:
            job = await client.upload("vaults", vault(tmp_path))
            steps = [getattr(event, "step", "") async for event in job.events()]
            assert list(dict.fromkeys(steps)) == ["convert", "split", "index", ""]

            assert "4711" in (await client.ask("vaults", QUESTION)).text
            async with client.stream("vaults", QUESTION) as stream:
                kinds = {type(event) async for event in stream}
                assert "4711" in (await stream.answer()).text
            assert {TokenEvent, CitationEvent, DoneEvent} <= kinds

            await (await client.delete_document(job.document_id or "")).wait(timeout_seconds=60)
            assert (await client.ask("vaults", QUESTION)).answered is False

    asyncio.run(story())


def test_the_story_with_openais_client(team: Team, tmp_path: Path) -> None:
    with team.ragline() as ours, team.openai() as client:
        job = ours.upload("vaults", vault(tmp_path))
        ask: Callable[..., Any] = partial(
            client.chat.completions.create,
            model="vaults",
            messages=[{"role": "user", "content": QUESTION}],
            extra_body={"min_generation": job.submission.generation, "top_k": 1},
        )

        whole = ask()
        assert "4711" in whole.choices[0].message.content
        assert (whole.citations[0]["document"], whole.citations[0]["page"]) == ("vault.pdf", 2)
        assert whole.choices[0].message.citations == whole.citations
        assert whole.usage.total_tokens >= 0

        chunks = list(ask(stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == whole.choices[0].message.content
        assert (chunks[-1].choices, chunks[-1].usage.prompt_tokens) == ([], 0)
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-2].citations == whole.citations

        assert [model.id for model in client.models.list()] == ["vaults"]
        assert client.models.retrieve("vaults").owned_by == "ragline"
        vectors = client.embeddings.create(model="vaults", input=["otters", "herons"]).data
        assert [len(vector.embedding) for vector in vectors] == [384, 384]

        ours.delete_document(job.document_id or "").wait(timeout_seconds=60)
        assert ask().citations == []


def test_langchains_chat_streams_an_answer_whose_citations_its_job_has(team: Team, tmp_path: Path) -> None:
    with team.ragline() as ours, _chat(team, "vaults") as chat:
        ours.upload("vaults", vault(tmp_path)).wait(timeout_seconds=60)

        chunks = list(chat.stream(QUESTION))

        answer = chunks[0]
        for chunk in chunks[1:]:
            answer += chunk
        assert "4711" in answer.text
        # It passes over what OpenAI does not send; the day it does not, the guide can be shorter.
        whole = chat.invoke(QUESTION)
        for message in (answer, whole):
            assert "citations" not in {**message.additional_kwargs, **message.response_metadata}
            job_id = message.response_metadata["headers"]["location"].rpartition("/")[2]
            cited = ours.job(job_id).result["citations"]
            assert ("vault.pdf", 2) in {(citation["document"], citation["page"]) for citation in cited}


def test_the_retriever_feeds_a_chain(team: Team, tmp_path: Path) -> None:
    prompt = ChatPromptTemplate.from_template("{passages}\n{question}")
    with team.ragline() as client:
        client.upload("vaults", vault(tmp_path)).wait(timeout_seconds=60)
        retriever = RaglineRetriever(client=client, collection="vaults", top_k=1)

        passages = retriever | (lambda found: "\n".join(document.page_content for document in found))
        filled = ({"passages": passages, "question": RunnablePassthrough()} | prompt).invoke(QUESTION)

    assert filled.to_string() == f"Human: {PAGES[1]}\n{QUESTION}"


def test_errors_as_openais_client_shows_them(team: Team, tmp_path: Path) -> None:
    with team.ragline() as ours, team.openai() as client, team.openai(api_key="wrong") as stranger:
        ours.upload("vaults", vault(tmp_path)).wait(timeout_seconds=60)
        message: Any = {"role": "user", "content": QUESTION}

        with pytest.raises(openai.AuthenticationError, match="Send a valid key") as unauthorized:
            stranger.models.list()
        with pytest.raises(openai.NotFoundError, match="There is no such collection"):
            client.chat.completions.create(model="nothing", messages=[message])
        with pytest.raises(openai.UnprocessableEntityError, match="/body/n") as invalid:
            client.chat.completions.create(model="vaults", messages=[message], n=2)

    assert unauthorized.value.code == "unauthorized"
    assert (invalid.value.param, invalid.value.code) == ("n", "invalid_request")
    assert invalid.value.request_id == invalid.value.response.json()["request_id"]


def test_limits_as_openais_client_shows_them(stack: Stack, team: Team) -> None:
    key = made_key(stack, tenant="limited", rag_per_minute="1")["key"]
    message: Any = {"role": "user", "content": QUESTION}
    with team.openai(api_key=key) as client:
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="nothing", messages=[message])
        with pytest.raises(openai.RateLimitError, match="1 requests of the kind 'rag' in 60 s") as limited:
            client.chat.completions.create(model="nothing", messages=[message])

    assert limited.value.code == "rate_limited"
    assert 50 <= int(limited.value.response.headers["retry-after"]) <= 60


def test_errors_as_our_client_and_langchain_show_them(team: Team) -> None:
    stranger = Team(url=team.url, key="wrong")
    with stranger.ragline() as client, pytest.raises(AuthenticationError):
        client.collection("vaults")
    with _chat(team, "nothing") as chat, pytest.raises(openai.NotFoundError, match="There is no such collection"):
        list(chat.stream(QUESTION))


def test_a_key_without_the_scope_is_told_which(stack: Stack) -> None:
    key = made_key(stack, tenant="reading", scope="read")["key"]
    with client_of(stack, key) as client:
        replies = [
            client.post("/v1/collections/vaults/queries", json={"question": QUESTION}),
            client.delete("/v1/collections/vaults"),
        ]

    assert [reply.status_code for reply in replies] == [403, 403]
    assert [reply.json()["detail"] for reply in replies] == [
        "The key needs the scope query",
        "The key needs the scope ingest",
    ]


@contextmanager
def _chat(team: Team, collection: str) -> Iterator[ChatOpenAI]:
    # LangChain never closes clients of its own.
    http = openai.DefaultHttpxClient()
    with http:
        yield ChatOpenAI(
            openai_api_base=f"{team.url}/v1",
            openai_api_key=SecretStr(team.key),
            model_name=collection,
            include_response_headers=True,
            max_retries=0,
            http_client=http,
        )
