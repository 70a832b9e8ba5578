"""Ways to install the chart. What must hold always is tested on each of them."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.chart import CHART, KEDA, Object, merged, render

__all__ = [
    "ALL_APIS",
    "COLLECTOR",
    "EVERYTHING",
    "FILES",
    "MONITORING",
    "NO_PASSWORD",
    "OUTSIDE",
    "SENTINELS",
    "VARIANTS",
    "every_variant",
    "variant",
]

ALL_APIS = (
    *KEDA,
    "traefik.io/v1alpha1",
    "gateway.networking.k8s.io/v1",
    "gateway.envoyproxy.io/v1alpha1",
    "monitoring.coreos.com/v1",
)

ON = {"enabled": True}

EVERYTHING: dict[str, Any] = {
    "auth": {"enabled": True, "apiKeys": ["0123456789abcdef"]},
    "openai": {"apiKey": "key"},
    "promptTemplate": "Be brief. {no_evidence} {fence}",
    "redis": {"password": "given"},
    "flower": {"password": "given", "persistence": ON},
    "jaeger": {"enabled": True, "persistence": ON},
    "ingress": {"enabled": True, "host": "documents.example.org", "tls": ON},
    "gatewayApi": {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["documents.example.org"]},
    "networkPolicy": {"operatorsFrom": [{"namespaceSelector": {"matchLabels": {"team": "operators"}}}]},
}

OUTSIDE: dict[str, Any] = {
    "redis": {
        "enabled": False,
        "external": {"host": "redis.example.org", "port": 6390, "database": 2, "tls": True},
        "existingSecret": "our-redis",
    },
    "chroma": {"enabled": False, "external": {"url": "https://chroma.example.org"}},
    "objectStore": {
        "enabled": False,
        "external": {"url": "s3://ours/rag", "env": {"AWS_REGION": "eu-central-1"}, "existingSecret": "our-bucket"},
    },
}

SENTINELS: dict[str, Any] = {
    "redis": {
        "enabled": False,
        "external": {"sentinel": {"addresses": ["one.example.org:26379"], "master": "ours", "auth": True}},
        "existingSecret": "our-redis",
    },
}

COLLECTOR: dict[str, Any] = {
    "tracing": {"endpoint": "https://otlp.example.org", "existingSecret": "our-headers", "sampleRatio": 0.1},
}

NO_PASSWORD: dict[str, Any] = {"redis": {"enabled": False, "external": {"host": "redis.example.org"}}}

_PROVIDERS = {
    "nginx": merged(EVERYTHING, {"ingress": {"rateLimit": {"provider": "nginx-f5"}}}),
    "haproxy": merged(EVERYTHING, {"ingress": {"rateLimit": {"provider": "haproxy"}}}),
    "unlimited": merged(EVERYTHING, {"ingress": {"rateLimit": {"provider": "none"}}}),
    "envoy": merged(EVERYTHING, {"ingress": {"enabled": False, "rateLimit": {"provider": "envoy-gateway"}}}),
}

MONITORING: dict[str, Any] = {
    "monitoring": {"serviceMonitor": ON, "rules": ON, "dashboards": ON, "podAnnotations": True},
}

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": EVERYTHING,
    "outside": OUTSIDE,
    "sentinels": SENTINELS,
    "no-password": NO_PASSWORD,
    "monitoring": MONITORING,
    "collector": COLLECTOR,
    "hpa": {"worker": {"defaults": {"scaler": "hpa"}}},
    "fixed": {"worker": {"defaults": {"scaler": "none"}}, "api": {"autoscaling": {"enabled": False}}},
    "least": {
        "flower": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "serviceAccount": {"create": False},
        "api": {"autoscaling": {"enabled": False}},
    },
    "keys-in-redis": {"auth": ON},
    "keys-in-redis-outside": merged(OUTSIDE, {"auth": ON}),
    "fifth-queue": {"worker": {"queues": {"reports": {"maxReplicas": 2}}}},
    **_PROVIDERS,
}

FILES = {path.stem: path for path in sorted(CHART.glob("values-*.yaml"))}


def variant(name: str) -> Sequence[Object]:
    """Give the objects of one variant, or of one of the chart's own values files."""
    if name in FILES:
        return render(files=[FILES[name]], api_versions=ALL_APIS)
    return render(VARIANTS[name], api_versions=ALL_APIS)


every_variant = pytest.mark.parametrize("objects", [*VARIANTS, *FILES], indirect=True)
