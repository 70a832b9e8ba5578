"""What goes wrong, as sentences for people."""

__all__ = ["ApiFailure", "ApiUnreachable", "CannotStart"]


class ApiFailure(Exception):
    """The API said no, or something that is not understood.

    Attributes
    ----------
    code
        Stable name of the error, or an empty string when the answer was not the API's.
    """

    def __init__(self, sentence: str, *, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


class ApiUnreachable(Exception):
    """Nobody answers at the address."""


class CannotStart(Exception):
    """The service cannot be started here and now."""
