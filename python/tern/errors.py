"""What goes wrong, as exceptions.

Every error of the engine is a :class:`TernError` with ``code`` (one of docs/errors.md), ``what``
(the thing, and both values where two disagree), ``where`` (a file, a tensor, an option) and ``hint``
(the likely cause), the last two maybe empty. Where Python has an exception of that meaning, the error
is one of those too: ``except FileNotFoundError`` and ``except MemoryError`` work as usual.
"""

from __future__ import annotations

__all__ = [
    "Busy", "Cancelled", "Corrupt", "Denied", "Internal", "IoError", "Mismatch", "NoMemory", "NotFound",
    "NumericError", "Offline", "TernError", "TooLarge", "Unreachable", "Unsupported", "UsageError",
]


class TernError(Exception):
    """Base of all errors of the engine."""

    code: str = "internal"

    def __init__(self, what: str = "", where: str = "", hint: str = ""):
        super().__init__(what, where, hint)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.hint})" if self.hint else text

    def __reduce__(self):
        return type(self), (self.what, self.where, self.hint)


class UsageError(TernError, ValueError):
    """An argument that contradicts itself, or is out of range."""

    code = "usage"


class NotFound(TernError, FileNotFoundError):
    """A file or a model that should be there is not."""

    code = "not_found"


class Corrupt(TernError, ValueError):
    """Bytes that break the rules of their own format."""

    code = "corrupt"


class Unsupported(TernError, NotImplementedError):
    """Well-formed, but nothing that this engine knows or does."""

    code = "unsupported"


class Mismatch(TernError, ValueError):
    """Two things that must agree do not: a model and a prompt cache of another one."""

    code = "mismatch"


class TooLarge(TernError, ValueError):
    """Over a limit, such as the context."""

    code = "too_large"


class Busy(TernError, RuntimeError):
    """No capacity now, or in use by another thread."""

    code = "busy"


class IoError(TernError, OSError):
    """The operating system refused a read, a write or a mapping."""

    code = "io"


class NoMemory(TernError, MemoryError):
    """An allocation failed."""

    code = "no_memory"


class NumericError(TernError, ArithmeticError):
    """A number that is not finite came out of the computation: a broken model file."""

    code = "numeric"


class Cancelled(TernError, RuntimeError):
    """Stopped on request."""

    code = "cancelled"


class Unreachable(TernError, ConnectionError):
    """No hub: it cannot be reached, does not answer, or has a fault."""

    code = "unreachable"


class Denied(TernError, PermissionError):
    """A hub's model whose terms were not accepted, or no token for it."""

    code = "denied"


class Offline(TernError, ConnectionError):
    """HF_HUB_OFFLINE forbids to ask the hub."""

    code = "offline"


class Internal(TernError, RuntimeError):
    """A fault of the engine itself."""

    code = "internal"


_BY_CODE = {
    error.code: error
    for error in (
        UsageError, NotFound, Corrupt, Unsupported, Mismatch, TooLarge, Busy, IoError, NoMemory,
        NumericError, Cancelled, Unreachable, Denied, Offline, Internal,
    )
}


def from_native(code: str, what: str, where: str, hint: str) -> TernError:
    """The exception for an error of the library."""
    return _BY_CODE.get(code, Internal)(what, where, hint)
