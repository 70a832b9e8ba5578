"""Entry point of a worker: ``python -m ragline.worker.main QUEUE``."""

import os
import socket
import sys

import structlog

from ragline.common.config import ConfigError, WorkerConfig, load_config
from ragline.common.logging import begin_logging
from ragline.common.queues import Queue
from ragline.pipeline.generators.prompts import read_template
from ragline.stores.objects import ObjectStore
from ragline.worker.app import create_celery
from ragline.worker.pools import POOLS
from ragline.worker.probes import ProbeFiles

__all__ = ["main"]

logger = structlog.get_logger(__name__)


def main(arguments: list[str]) -> int:
    """Run the worker of one queue until it is told to stop.

    Returns
    -------
    int
        Exit status: 2 for a wrong queue or setting.
    """
    if len(arguments) != 1 or arguments[0] not in list(Queue):
        sys.stderr.write(f"usage: python -m ragline.worker.main {{{'|'.join(Queue)}}}\n")
        return 2
    queue = Queue(arguments[0])
    try:
        config = load_config(WorkerConfig)
        # Celery swallows what its start-up signals raise, so a wrong address or template is found here.
        ObjectStore(config.object_store_url)
        if queue is Queue.RAG:
            read_template(config.prompt_template)
        ProbeFiles(config.probe_dir).start()
    except ConfigError as error:
        logger.critical("not started", reason=str(error), next="the worker ends; its queue waits")
        return 2
    pool = POOLS[queue]
    # With the process id: two workers of a queue may run on one host.
    worker = f"{queue}@{config.worker_name or f'{socket.gethostname()}-{os.getpid()}'}"
    concurrency = str(config.worker_concurrency or pool.concurrency)
    # Workers of one queue share nothing but Redis: gossip and mingle would only make them slower to start.
    quiet = ["--without-gossip", "--without-mingle"]
    create_celery(config, queue, worker=worker).worker_main(
        [
            "--quiet",
            "worker",
            "-n",
            worker,
            "-Q",
            queue,
            "-P",
            pool.kind,
            "-c",
            concurrency,
            *quiet,
            "--loglevel",
            config.log_level,
        ]
    )
    return 0


if __name__ == "__main__":
    begin_logging()
    sys.exit(main(sys.argv[1:]))
