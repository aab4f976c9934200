"""CellError, the root of every error the platform raises on purpose."""

from __future__ import annotations

import re
import reprlib
from collections.abc import ItemsView, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar

from cellmesh.api.common.v1.errors_pb2 import ErrorReason
from grpc import StatusCode

__all__ = ["CellError", "ErrorReason", "StatusCode", "describe"]

MESSAGE_KEY = "mesg"
HINT_KEY = "hint"

SHOWN_TEXT_SIZE_MAX = 200
SHOWN_ITEM_COUNT_MAX = 8


class _FieldRepr(reprlib.Repr):
    """Shows plain values, cut to size; of other objects only the kind, as their text may hold paths or secrets."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = SHOWN_TEXT_SIZE_MAX
        self.maxlist = self.maxtuple = self.maxdict = SHOWN_ITEM_COUNT_MAX

    def repr_instance(self, x: Any, level: int) -> str:
        """Called for every kind that has no method of its own in reprlib."""
        if isinstance(x, bool | float | bytes | Decimal | None):
            return super().repr_instance(x, level)
        return f"<{type(x).__name__}>"


_SHOW = _FieldRepr()


def describe(**fields: str) -> Mapping[str, str]:
    """Say what the fields of an error class hold, in order."""
    return MappingProxyType(fields)


class CellError(Exception):
    """An error with a message, named fields and a stable reason.

    Raise the class whose docstring names the cause:

        raise NoSuchForm("no form of this name", name=name, hint="did you mean inet:fqdn?")

    The message may be left out, as each class says what it means. Fields hold plain data (what a Value
    holds); anything else arrives at the other side as text. Two fields have a fixed meaning: `mesg` is
    the message, and `hint` says what the reader can do.

    Attributes:
        code: The gRPC status code that calls end with.
        reason: The stable reason, one for each class.
        field_docs: Field name -> what it holds. Other fields are allowed.
        errinfo: The fields, the message under `mesg`, in the order they were given.
    """

    code: ClassVar[StatusCode] = StatusCode.UNKNOWN
    reason: ClassVar[ErrorReason.ValueType] = ErrorReason.ERROR_REASON_CELL_ERROR
    field_docs: ClassVar[Mapping[str, str]] = describe()

    errinfo: dict[str, Any]

    def __init__(self, message: str = "", /, **fields: Any) -> None:
        super().__init__(message)
        self.errinfo = fields
        if message:
            self.errinfo[MESSAGE_KEY] = message

    @classmethod
    def reason_name(cls) -> str:
        """The reason as it stands in google.rpc.ErrorInfo, such as "ERROR_REASON_NO_SUCH_FORM"."""
        return ErrorReason.Name(cls.reason)

    @classmethod
    def summary(cls) -> str:
        """What this class of errors means, one sentence without its full stop."""
        return (cls.__doc__ or cls.__name__).strip().split("\n")[0].rstrip(".")

    @property
    def name(self) -> str:
        """The name of the class, such as "NoSuchForm"; that of the base class is "SynErr", as users know it."""
        return type(self).__name__ if type(self) is not CellError else "SynErr"

    @property
    def message(self) -> str:
        """What happened: the message given, or else what the class means."""
        return str(self.errinfo.get(MESSAGE_KEY) or self.summary())

    @property
    def hint(self) -> str:
        """What the reader can do about it, or empty."""
        return str(self.errinfo.get(HINT_KEY) or "")

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field by name; `mesg` is the message."""
        return self.errinfo.get(name, default)

    def items(self) -> ItemsView[str, Any]:
        """The fields with their values, `mesg` among them when a message was given."""
        return self.errinfo.items()

    def set(self, name: str, value: Any) -> None:
        """Set a field, replacing the value it had."""
        self.errinfo[name] = value

    def setdefault(self, name: str, value: Any) -> None:
        """Set a field unless it is there: how outer code adds what inner code could not know."""
        self.errinfo.setdefault(name, value)

    def __str__(self) -> str:
        """The message, the fields it does not mention yet, then the hint."""
        text = self.message.rstrip(".")
        shown = [f"{key}={_SHOW.repr(value)}" for key, value in self.items() if not self._is_told(key, value)]
        if shown:
            text = f"{text} ({', '.join(shown)})"
        return f"{text}: {self.hint}" if self.hint else text

    def _is_told(self, key: str, value: Any) -> bool:
        """Whether the message and hint say this field already."""
        if key in (MESSAGE_KEY, HINT_KEY) or value is None:
            return True
        if not isinstance(value, str) or len(value) < 2:
            return False
        # As a word of its own: the property asn is not told by the type inet:asn.
        return re.search(rf"(?<![\w:]){re.escape(value)}(?!\w|:\w)", self.message) is not None
