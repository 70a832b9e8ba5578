"""The few forms of PromQL that rules and panels are made of.

Every API process reads the same ledger and shows the same values. So a value is the greatest of what the processes say,
never their sum, and a rate is taken of each process's series before they are put together: a maximum that falls when a
pod goes would look like a counter that began anew.
"""

import re
from dataclasses import dataclass
from datetime import timedelta

__all__ = ["Clock", "at_most", "grown", "quantile", "rate", "scoped", "shared", "total"]

OURS = re.compile(r"\b(ragline[_:][a-z0-9_:]+)(\{)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How fast the rules' time runs: tests run the very same rules faster.

    Attributes
    ----------
    speed
        1 in operation; 60 makes an hour a minute.
    """

    speed: int = 1

    def seconds(self, seconds: float) -> float:
        """A length of time that a value is compared with."""
        return seconds / self.speed

    def span(self, *, hours: float = 0, minutes: float = 0, seconds: float = 0) -> str:
        """A window or a wait, as Prometheus writes it."""
        length = timedelta(hours=hours, minutes=minutes, seconds=seconds) / self.speed
        milliseconds = length // timedelta(milliseconds=1)
        for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
            if milliseconds and milliseconds % size == 0:
                return f"{milliseconds // size}{unit}"
        return f"{milliseconds}ms" if milliseconds else "0s"


def at_most(bound: int) -> str:
    """The matcher of one bucket; some versions of Prometheus and of its formats write 10, others 10.0."""
    return f'le=~"{bound}([.]0)?"'


def shared(expr: str) -> str:
    """What the API processes agree on."""
    return f"max without (instance, pod) ({expr})"


def rate(series: str, window: str) -> str:
    """Events per second of one counter."""
    return shared(f"rate({series}[{window}])")


def total(expr: str, *labels: str) -> str:
    """The sum over everything but these labels and where the service runs."""
    return f"sum by ({', '.join(['namespace', 'job', *labels])}) ({expr})"


def quantile(share: float, histogram: str, window: str, *labels: str) -> str:
    """The duration that this share of the events stayed below; `histogram` is its name, with matchers if need be."""
    name, brace, matchers = histogram.partition("{")
    buckets = rate(f"{name}_bucket{brace}{matchers}", window)
    return f"histogram_quantile({share}, {total(buckets, *labels, 'le')})"


def grown(series: str, window: str) -> str:
    """How many events the window saw, exactly, where each one counts.

    A rate does not see the first event of a series that was not there before, and a pod that goes takes its rate along.
    A Prometheus that knows nothing of the time before the window says nothing.
    """
    now, before = shared(series), shared(f"{series} offset {window}")
    known = shared(f"ragline_ledger_up offset {window}")
    return f"({now} - ({before} or 0 * {now})) and on (namespace, job) {known}"


def scoped(expr: str) -> str:
    """The expression of a panel, for the namespaces that its dashboard shows."""
    return OURS.sub(lambda found: f'{found[1]}{{namespace=~"$namespace"' + (", " if found[2] else "}"), expr)
