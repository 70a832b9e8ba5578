"""The command `ragline`: the service on a laptop, and a client of any Ragline API.

Exit status of all commands: 0 done; 1 refused or failed; 2 wrong use or settings; 3 no API answers (`keys`: no Redis);
4 the collection holds no evidence (`ask`); 5 not consistent (`verify`).
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ragline.cli.asking import print_citations, read_answer
from ragline.cli.exits import EXIT_FAILED, plain_failures, print_json
from ragline.cli.failures import ApiFailure
from ragline.cli.ingesting import ingest_files, outcome_table
from ragline.cli.keys import app as keys_app
from ragline.cli.operating import app as operating_app
from ragline.cli.options import ApiUrl, AsJson, connect
from ragline.cli.replies import Consistency, understood
from ragline.cli.showing import consistency_table, status_table

__all__ = ["app"]

_EXIT_NO_EVIDENCE = 4
_EXIT_INCONSISTENT = 5

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Ask your documents: PDFs in, cited answers out.",
    epilog=(
        "Exit status: 0 done; 1 refused or failed; 2 wrong use or settings; 3 no API answers (keys: no Redis); "
        "4 no evidence (ask); 5 not consistent (verify). An API that wants a key finds it in RAGLINE_API_KEY."
    ),
)

app.add_typer(keys_app, name="keys")
app.add_typer(operating_app)

_Collection = Annotated[str, typer.Option("--collection", "-c", help="Set of documents")]
_DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Everything the service keeps; default: `storage`")]


@app.command()
def up(
    *,
    flower: Annotated[bool, typer.Option("--flower", help="Start Flower, the view of the workers, as well")] = False,
    observe: Annotated[
        bool, typer.Option("--observe", help="Trace every request, and show the traces on a page of this computer")
    ] = False,
    data_dir: _DataDir = None,
) -> None:
    """Start the whole service on this computer: Valkey, Chroma, the API and four workers. Ctrl-C stops it.

    Exit status: 0 told to stop; 1 a part failed for good, a port is taken or the folder is in use; 2 wrong settings.
    """
    # Imported here: the other commands work without the server's packages, and start faster.
    from ragline.cli.supervisor.plan import Extras, load_settings  # noqa: PLC0415
    from ragline.cli.up import serve  # noqa: PLC0415

    with plain_failures():
        extras = Extras(flower=flower, observe=observe)
        status = serve(load_settings(data_dir), console=Console(), extras=extras)
    raise typer.Exit(status)


@app.command()
def part(
    name: Annotated[
        str,
        typer.Argument(help="api, worker-default, worker-document, worker-vectorstore, worker-rag, flower, observer"),
    ],
    *,
    data_dir: _DataDir = None,
) -> None:
    """Run one part of the service in the foreground, beside the others that `up` started or on its own.

    Exit status: of the part; 2 wrong settings or no such part.
    """
    from ragline.cli.supervisor.plan import load_settings  # noqa: PLC0415
    from ragline.cli.up import run_part  # noqa: PLC0415

    with plain_failures():
        run_part(load_settings(data_dir), name)


@app.command()
def demo(
    *,
    stop_after: Annotated[bool, typer.Option("--exit", help="Stop everything after the answer")] = False,
    samples: Annotated[Path, typer.Option(help="Folder with PDFs and questions.json")] = Path("samples"),
    data_dir: _DataDir = None,
) -> None:
    """Start the service, ingest the sample documents and ask them a question.

    Exit status: 0 the first citation is the right page; 1 it is not, or a part failed; 2 wrong settings.
    """
    from ragline.cli.demo import load_samples, run_demo  # noqa: PLC0415
    from ragline.cli.supervisor.plan import load_settings  # noqa: PLC0415

    with plain_failures():
        status = run_demo(load_settings(data_dir), load_samples(samples), stop_after=stop_after, console=Console())
    raise typer.Exit(status)


@app.command()
def ingest(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="PDFs")],
    *,
    collection: _Collection = "default",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the documents until they can be asked")] = True,
    api_url: ApiUrl = None,
) -> None:
    """Upload PDFs into a collection. Exit status 1 if any of them failed."""
    console = Console()
    with plain_failures(), connect(api_url) as client:
        outcomes = ingest_files(client, files, collection=collection, wait=wait, console=console)
    console.print(outcome_table(outcomes))
    raise typer.Exit(0 if all(outcome.ok for outcome in outcomes) else EXIT_FAILED)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question, in quotes")],
    *,
    collection: _Collection = "default",
    top_k: Annotated[int | None, typer.Option(min=1, max=50, help="Passages the answer may rest on")] = None,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Ask a collection. Exit status 0 when it was answered, 4 when there is no evidence for an answer."""
    console = Console()
    with plain_failures(), connect(api_url) as client:
        if as_json:
            reply = client.ask(collection, question, top_k=top_k)
            print_json(reply)
            answered = bool(reply.get("answered"))
        else:
            answer = read_answer(client.ask_stream(collection, question, top_k=top_k), console)
            print_citations(answer, console)
            answered = bool(answer.citations)
    raise typer.Exit(0 if answered else _EXIT_NO_EVIDENCE)


@app.command()
def status(
    name: Annotated[str, typer.Argument(metavar="ID", help="doc_... or job_...")],
    *,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Where a document or a job is, why it waits and what happens next."""
    with plain_failures(), connect(api_url) as client:
        reply = client.document(name) if name.startswith("doc_") else client.job(name)
    if as_json:
        print_json(reply)
    else:
        Console().print(status_table(reply))


@app.command()
def verify(
    collection: Annotated[str, typer.Argument(help="Set of documents")],
    *,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Compare the stored chunks of a collection with what they should be. Exit status 5 when they differ."""
    with plain_failures(), connect(api_url) as client:
        job = client.finished(client.verify(collection).job_id)
        if job.error or job.status != "succeeded":
            reason = f"{job.error.title}: {job.error.detail} (code {job.error.code})" if job.error else ""
            raise ApiFailure(f"The verification {job.status}. {reason}")
        report = understood(Consistency, job.result)
    if as_json:
        print_json(job.result)
    else:
        Console().print(consistency_table(collection, report))
    raise typer.Exit(0 if report.consistent else _EXIT_INCONSISTENT)
