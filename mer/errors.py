"""The exceptions that this package raises for mistakes it can name."""

from __future__ import annotations


class MerError(Exception):
    """Base of all errors with a message meant for the user.

    A message states what was found, what was expected, and what to do. Jupyter shows the
    message alone, without a traceback. Bytes of a file name that are not UTF-8 stand in it as
    escapes, so that everything can show and store it.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_printable(message))

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class MissingDataError(MerError):
    """A file, folder or label that is needed is not there."""


class InvalidDataError(MerError):
    """A file or value is there but cannot be used."""


class ParameterError(MerError):
    """A name or value given by the user is unknown or has the wrong type."""


class DataWarning(UserWarning):
    """A file is there and used, but lacks something or is not what it says."""

    def __init__(self, message: object = "") -> None:
        super().__init__(_printable(message))


def _printable(message: object) -> str:
    return str(message).encode("utf-8", "backslashreplace").decode("utf-8")
