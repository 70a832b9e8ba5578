"""Numbers and times in words that all commands share."""

__all__ = ["counted", "lasting"]

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


def counted(number: int, noun: str) -> str:
    """A number of things, such as ``1 job`` or ``5 jobs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def lasting(seconds: float) -> str:
    """A time as precise as somebody needs who waits: ``40 ms``, ``4.2 s``, ``95 s``, ``12 min``, ``5 h``, ``3 d``."""
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds > 0 else "0 s"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"  # noqa: PLR2004 - two digits say enough
