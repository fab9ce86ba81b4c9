"""The exceptions that this package raises for mistakes it can name."""

from __future__ import annotations


class MerError(Exception):
    """Base of all errors with a message meant for the user.

    A message states what was found, what was expected, and what to do. Jupyter shows the
    message alone, without a traceback.
    """

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
