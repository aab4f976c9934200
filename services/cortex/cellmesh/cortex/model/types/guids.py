"""guid, and the users and roles that are named by one."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from cellmesh.common import hashing
from cellmesh.common.errors import NotMsgpackSafe
from cellmesh.cortex.model.scans import IndexScan, Prefix
from cellmesh.cortex.model.types.base import BaseType, Normed, shown, text_of

RANDOM = "*"
_DIGITS = re.compile(r"[0-9a-f]*")


class GuidType(BaseType):
    """128 bits as 32 hexadecimal digits.

    Made of digits, with or without dashes; of a list or tuple, whose hash it then is; or of `*`, at random.
    """

    prefix_lift: ClassVar[bool] = True
    range_lift: ClassVar[bool] = False

    def normalize(self, value: object) -> Normed:
        if isinstance(value, str):
            if value == RANDOM:
                return Normed(hashing.guid())
            text = value.lower().replace("-", "")
            if not hashing.isguid(text):
                raise self.bad("needs 32 hexadecimal digits", value)
            return Normed(text)
        if isinstance(value, (list, tuple)):
            if not value:
                raise self.bad("an empty list makes no guid", value)
            try:
                return Normed(hashing.guid(value))
            except NotMsgpackSafe as error:
                raise self.bad(error.message, value) from error
        raise self.bad_kind(value)

    def repr(self, value: Any) -> Any:
        return value

    def encode(self, value: Any) -> bytes:
        return bytes.fromhex(value)

    def normalize_prefix(self, value: object) -> str:
        text = text_of(value).lower()
        if not _DIGITS.fullmatch(text) or len(text) % 2:
            raise self.bad("a guid's prefix is an even number of hexadecimal digits", value)
        return text

    def lift_prefix(self, value: object) -> tuple[IndexScan, ...]:
        return (Prefix(bytes.fromhex(self.normalize_prefix(value))),)


class IdentityType(GuidType):
    """A user or role, given by name or iden and printed as its name."""

    kind: ClassVar[str]
    prefix_lift: ClassVar[bool] = False

    def normalize(self, value: object) -> Normed:
        if not isinstance(value, str):
            return super().normalize(value)
        iden = self.model.iden_of(self.kind, value)
        if iden is not None:
            return Normed(iden)
        text = value.lower().replace("-", "")
        if not hashing.isguid(text):
            raise self.bad(f"there is no {self.kind} named {shown(value)}, and it is no guid", value)
        return Normed(text)

    def repr(self, value: Any) -> Any:
        return self.model.name_of(self.kind, value) or value


class UserType(IdentityType):
    """A user."""

    kind = "user"


class RoleType(IdentityType):
    """A role."""

    kind = "role"
