"""The original's background data processing: a small, visible piece of work on a text."""

__all__ = ["process_data"]


def process_data(data: str) -> dict[str, str | int]:
    """Normalise a text and count it.

    Returns
    -------
    dict
        ``processed``: the text with single spaces, in upper case; ``words`` and ``characters``: counts of the input.
    """
    words = data.split()
    return {"processed": " ".join(words).upper(), "words": len(words), "characters": len(data)}
