"""Files: base names, paths, and the identity of a file's bytes."""

from __future__ import annotations

import base64
import binascii
import hashlib

from cellmesh.common import hashing
from cellmesh.common.errors import NotMsgpackSafe
from cellmesh.cortex.model.types.base import Normed
from cellmesh.cortex.model.types.strings import TextType

SHA256_DIGITS = 64


class FileBaseType(TextType):
    """The last part of a file's path, in lower case. Sub-value: `ext`."""

    def normalize(self, value: object) -> Normed:
        text = self.to_text(value).strip().lower().replace("\\", "/")
        if "/" in text:
            raise self.bad("a base name has no slash", value)
        return Normed(text, extension_of(text))


class FilePathType(TextType):
    """A path, in lower case with forward slashes. Sub-values: `dir`, `base`, `ext` and `base:ext`."""

    def normalize(self, value: object) -> Normed:
        text = self.to_text(value)
        if not text:
            return Normed("")
        path = text.replace("\\", "/").strip().lower()
        if path.strip("/") in (".", ".."):
            raise self.bad("a relative path needs a name", value)
        parts: list[str] = []
        for part in path.split("/"):
            if part == "..":
                if parts:
                    parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        if not parts:
            return Normed("")
        # A backslash in front makes no root: it may belong to a share's name.
        root = "/" if text.startswith("/") else ""
        whole = root + "/".join(parts)
        base = parts[-1]
        subs: list[tuple[str, object]] = [("base", base)]
        extension = extension_of(base)
        subs.extend(extension)
        if len(parts) > 1:
            subs.append(("dir", root + "/".join(parts[:-1])))
        return Normed(whole, tuple(subs))


class FileBytesType(TextType):
    """A file by its content, `sha256:DIGITS`, or one whose content is unknown, `guid:DIGITS`.

    Also made of `*`, a list (a guid), 64 digits, `hex:DIGITS` or `base64:TEXT` (the content itself, whose
    hashes become sub-values).
    """

    def normalize(self, value: object) -> Normed:
        if isinstance(value, bytes):
            return self.of_content(value)
        if isinstance(value, (list, tuple)):
            if not value:
                raise self.bad("an empty list makes no guid", value)
            try:
                return Normed(f"guid:{hashing.guid(value)}")
            except NotMsgpackSafe as error:
                raise self.bad(error.message, value) from error
        text = self.to_text(value)
        if text == "*":
            return Normed(f"guid:{hashing.guid()}")
        kind, colon, rest = text.partition(":")
        if not colon:
            return self.of_sha256(text, value)
        match kind:
            case "sha256":
                return self.of_sha256(rest, value)
            case "guid":
                if not hashing.isguid(rest.lower()):
                    raise self.bad("guid: needs 32 hexadecimal digits", value)
                return Normed(f"guid:{rest.lower()}")
            case "hex":
                return self.of_content(self.decode(binascii.unhexlify, rest.replace(" ", ""), value))
            case "base64":
                return self.of_content(self.decode(base64.b64decode, rest, value))
        raise self.bad("say sha256:, guid:, hex: or base64:", value)

    def decode(self, decoder: object, text: str, value: object) -> bytes:
        """Decode content given as text."""
        assert callable(decoder)
        try:
            content: bytes = decoder(text)
        except (ValueError, binascii.Error) as error:
            raise self.bad(str(error), value) from None
        return content

    def of_sha256(self, digits: str, value: object) -> Normed:
        """Make the value of a SHA-256."""
        text = digits.strip().lower()
        if len(text) != SHA256_DIGITS or any(digit not in "0123456789abcdef" for digit in text):
            raise self.bad(f"a SHA-256 has {SHA256_DIGITS} hexadecimal digits", value)
        return Normed(f"sha256:{text}", (("sha256", text),))

    def of_content(self, content: bytes) -> Normed:
        """Make the value of bytes, with their hashes."""
        sha256 = hashlib.sha256(content).hexdigest()
        subs = (
            ("md5", hashlib.md5(content, usedforsecurity=False).hexdigest()),
            ("sha1", hashlib.sha1(content, usedforsecurity=False).hexdigest()),
            ("sha256", sha256),
            ("sha512", hashlib.sha512(content).hexdigest()),
            ("size", len(content)),
        )
        return Normed(f"sha256:{sha256}", subs)


def extension_of(base: str) -> tuple[tuple[str, object], ...]:
    """Return the sub-value `ext` of a base name that has a dot."""
    name, dot, extension = base.rpartition(".")
    return (("ext", extension),) if dot or name else ()
