"""Celery's settings for the Flower of `ragline up`, which names this module to it."""

from ragline.common.config import ApiConfig, load_config
from ragline.stores.redis_connection import celery_connection

__all__ = ["broker_transport_options", "broker_url"]

_settings = celery_connection(load_config(ApiConfig).redis_server, {})

broker_url: str = _settings["broker_url"]
broker_transport_options: dict[str, object] = _settings["broker_transport_options"]
