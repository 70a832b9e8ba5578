"""Queues, pools, tasks and Celery's settings tell the same story."""

from importlib import import_module

import pytest
from celery import current_app

from ragline.common.config import WorkerConfig
from ragline.common.constants import STEP_BUDGET, VISIBILITY_TIMEOUT
from ragline.common.logging import configure_logging
from ragline.common.queues import CANVAS_TASKS, ROUTES, Queue
from ragline.worker.app import create_celery
from ragline.worker.main import main
from ragline.worker.pools import POOLS
from tests.support.logs import logging_as_before


def test_every_queue_has_a_pool() -> None:
    assert set(POOLS) == set(Queue)


@pytest.mark.parametrize("queue", Queue)
def test_a_queues_module_holds_exactly_its_tasks(queue: Queue) -> None:
    module = import_module(f"ragline.worker.tasks.{queue}")

    expected = {route.task for route in ROUTES.values() if route.queue is queue}
    expected |= {task for task, home in CANVAS_TASKS.items() if home is queue}
    assert set(module.__all__) == expected
    assert expected <= current_app.tasks.keys()


@pytest.mark.parametrize("queue", Queue)
def test_messages_in_flight_are_kept_apart_by_queue(queue: Queue) -> None:
    app = create_celery(WorkerConfig(), queue)

    options = app.conf.broker_transport_options
    assert (options["unacked_key"], options["unacked_index_key"], options["unacked_mutex_key"]) == (
        f"unacked:{queue}",
        f"unacked_index:{queue}",
        f"unacked_mutex:{queue}",
    )
    assert options["visibility_timeout"] == VISIBILITY_TIMEOUT.total_seconds() >= 3 * STEP_BUDGET.total_seconds()
    assert app.conf.task_acks_late
    assert app.conf.worker_disable_prefetch
    assert app.conf.accept_content == ["json"]


@pytest.mark.parametrize("arguments", [[], ["nope"], ["rag", "document"]])
def test_a_wrong_queue_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "default|document|vectorstore|rag" in capsys.readouterr().err


def test_a_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OBJECT_STORE_URL", "ftp://nowhere")

    with logging_as_before():
        configure_logging(level="INFO", log_format="json")
        assert main(["rag"]) == 2
    assert "OBJECT_STORE_URL" in capsys.readouterr().err
