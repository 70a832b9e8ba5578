import json

from pydantic import SecretStr

from ragline.common.config import WorkerConfig
from ragline.common.queues import Queue
from ragline.worker.app import create_celery


def test_a_worker_tells_nobody_a_password() -> None:
    config = WorkerConfig(
        redis_url=SecretStr("sentinel://one:1,two:2/3"),
        redis_password=SecretStr("secret-of-data"),
        redis_sentinel_master="m",
        redis_sentinel_password=SecretStr("secret-of-sentinels"),
    )
    app = create_celery(config, Queue.RAG)
    with app.connection() as connection:
        stats = connection.info()
        # Celery's own share of it.
        del stats["password"]
        assert connection.clone().as_uri(include_password=True) == "sentinel://:secret-of-data@one:1/3"
    told = json.dumps([stats, app.conf.table(with_defaults=False, censored=True), app.backend.as_uri()], default=str)
    assert "sentinel://:**@two:2/3" in told
    assert "unacked:rag" in told
    assert "secret-of" not in told
