"""Text: str and what derives from it by options, hex, loc, tags, taxonomies."""

from __future__ import annotations

import decimal
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

from cellmesh.common.errors import BadConfValu, BadTypeDef
from cellmesh.cortex.model.encoding import encode_text
from cellmesh.cortex.model.scans import EVERYTHING, Filtered, IndexScan, Predicate, Range
from cellmesh.cortex.model.types.base import (
    BaseType,
    Normed,
    compile_pattern,
    prefix_scan,
    python_pattern,
    text_of,
)

_WORDS = re.compile(r"\w+")
_HEX = re.compile(r"[0-9a-f]*")


class TextType(BaseType):
    """What every type stored as text shares: its index, prefix lifts, and wildcards in lifts where `globs` is set."""

    prefix_lift: ClassVar[bool] = True
    regex_lift: ClassVar[bool] = True
    globs: bool = False

    def to_text(self, value: object) -> str:
        """Return the text of a value of a simple kind.

        Raises:
            BadTypeValu: it is of another kind, such as a list.
        """
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if isinstance(value, (float, decimal.Decimal)):
            # Without an exponent, however large or small; a decimal as the float that is nearest.
            return format(decimal.Decimal(repr(float(value))), "f")
        raise self.bad_kind(value)

    def repr(self, value: Any) -> Any:
        return value

    def encode(self, value: Any) -> bytes:
        return encode_text(value)

    def glob_prefix(self, value: object) -> str | None:
        """Return the start that `start*` asks for, or None if the operand is no wildcard."""
        if self.globs and isinstance(value, str) and value.endswith("*"):
            return self.normalize_prefix(value[:-1])
        return None

    def compare_prefix(self, value: object) -> Predicate:
        return _starting_with(text_of(value))

    def lift_prefix(self, value: object) -> tuple[IndexScan, ...]:
        return self.scan_prefix(self.normalize_prefix(value))

    def lift_regex(self, value: object) -> tuple[IndexScan, ...]:
        # The index has the stored text, where a filter looks at the printed one.
        search = compile_pattern(value, self.name).search
        return (Filtered(EVERYTHING, lambda stored: search(text_of(stored)) is not None),)

    def lift_range(self, value: object) -> tuple[IndexScan, ...]:
        """Scan from one text to another, and all that starts with the latter."""
        low, high = (encode_text(self.range_end(item)) for item in self.range_ends(value))
        return (Range(low, high + b"\xff"),) if low <= high + b"\xff" else ()

    def range_end(self, value: object) -> str:
        """Return an end of a lifted range: any text, it need not be a value."""
        return self.to_text(value)

    def scan_prefix(self, prefix: str) -> tuple[IndexScan, ...]:
        """Scan the stored texts that start with a text."""
        return (prefix_scan(prefix.encode("utf-8", "surrogatepass"), _starting_with(prefix)),)

    def lift_equal(self, value: object) -> tuple[IndexScan, ...]:
        prefix = self.glob_prefix(value)
        if prefix is None:
            return super().lift_equal(value)
        return self.scan_prefix(prefix)


class StrType(TextType):
    """Text.

    Options, applied in this order: `lower`; `strip` white space at the ends; `replace` pairs of text;
    `onespace` makes any run of white space one space and strips; `enums` lists the values allowed, separated
    by commas; `regex` must match, and its named groups become sub-values; `globsuffix` lets `=` take a
    trailing star when lifting.
    """

    def compile(self) -> None:
        options = self.options
        self.lower = bool(options.get("lower"))
        self.strip = bool(options.get("strip"))
        self.one_space = bool(options.get("onespace"))
        self.replacements = tuple((str(old), str(new)) for old, new in options.get("replace") or ())
        self.globs = bool(options.get("globsuffix"))
        enums = options.get("enums")
        words: Sequence[str] = enums.split(",") if isinstance(enums, str) else tuple(enums or ())
        self.enums = frozenset(map(str, words)) if enums else None
        self.pattern = self._compile_pattern(options.get("regex"))

    def _compile_pattern(self, pattern: object) -> re.Pattern[str] | None:
        if pattern is None:
            return None
        try:
            return re.compile(python_pattern(str(pattern)))
        except re.error as error:
            raise BadTypeDef(f"the regex of {self.name} does not compile: {error}", name=self.name) from error

    def tidy(self, text: str) -> str:
        """Apply the options that change text."""
        if self.lower:
            text = text.lower()
        if self.strip:
            text = text.strip()
        for old, new in self.replacements:
            text = text.replace(old, new)
        if self.one_space:
            text = " ".join(text.split())
        return text

    def normalize(self, value: object) -> Normed:
        text = self.tidy(self.to_text(value))
        if self.enums is not None and text not in self.enums:
            raise self.bad(f"not one of {', '.join(sorted(self.enums))}", value)
        if self.pattern is None:
            return Normed(text)
        match = self.pattern.match(text)
        if match is None:
            raise self.bad(f"does not match {self.options['regex']}", value)
        return Normed(
            text, tuple((name, part) for name, part in match.groupdict().items() if part is not None)
        )

    def range_end(self, value: object) -> str:
        return self.tidy(self.to_text(value))

    def normalize_prefix(self, value: object) -> str:
        text = self.to_text(value)
        if self.lower:
            text = text.lower()
        if self.strip:
            text = text.lstrip()
        for old, new in self.replacements:
            text = text.replace(old, new)
        if self.one_space:
            text = " ".join(text.split())
        return text


class HexType(TextType):
    """Bytes as lower-case hexadecimal text.

    Options: `size` is the number of digits needed, 0 for any; `zeropad` fills with zeros in front, to
    `size` when it is true, or to that many digits.
    """

    globs = True

    def compile(self) -> None:
        self.size = int(self.options.get("size") or 0)
        pad = self.options.get("zeropad")
        self.pad_to = self.size if pad is True else int(pad or 0)
        if self.size < 0 or self.size % 2 or self.pad_to < 0:
            raise BadConfValu("a hex has an even number of digits, none below 0", name=self.name)

    def normalize(self, value: object) -> Normed:
        if isinstance(value, bool) or not isinstance(value, (int, str, bytes)):
            raise self.bad_kind(value)
        text = self.digits(value)
        if not text and value != 0:
            raise self.bad("no digits", value)
        if len(text) % 2:
            text = f"0{text}"
        if not _HEX.fullmatch(text):
            raise self.bad("not hexadecimal", value)
        # The sign of a negative number goes on to the left.
        text = text.rjust(self.pad_to, "f" if isinstance(value, int) and value < 0 else "0")
        if self.size and len(text) != self.size:
            raise self.bad(f"must have {self.size} digits", value)
        return Normed(text)

    def digits(self, value: object) -> str:
        """Return the digits of a value, without a prefix and separators."""
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, int):
            size = (value.bit_length() + (8 if value < 0 else 7)) // 8
            return value.to_bytes(size, "big", signed=value < 0).hex()
        return str(value).strip().lower().removeprefix("0x").replace(" ", "").replace(":", "")

    def range_end(self, value: object) -> str:
        return str(self.norm(value))

    def normalize_prefix(self, value: object) -> str:
        return self.digits(value)


class LocType(TextType):
    """A place as words from large to small: `us.va.reston`. Prefixes match whole words."""

    regex_lift: ClassVar[bool] = False
    range_lift: ClassVar[bool] = False

    def normalize(self, value: object) -> Normed:
        if not isinstance(value, str):
            raise self.bad_kind(value)
        return Normed(self.tidy(value))

    def tidy(self, text: str) -> str:
        """Lower the text; white space around its parts goes, inside them it becomes one space."""
        return ".".join(" ".join(part.split()) for part in text.lower().split("."))

    def encode(self, value: Any) -> bytes:
        # The dot at the end keeps `us` and `us.va` together, and `usa` out of the prefix.
        return encode_text(f"{value}.")

    def normalize_prefix(self, value: object) -> str:
        return self.tidy(text_of(value))

    def glob_prefix(self, value: object) -> str | None:
        if isinstance(value, str) and value.endswith(".*"):
            return self.normalize_prefix(value[:-2])
        return None

    def compare_prefix(self, value: object) -> Predicate:
        return self.under(self.normalize_prefix(value))

    def under(self, prefix: str) -> Predicate:
        """Test for a place that is the given one or lies in it."""
        start = f"{prefix}."
        return lambda stored: stored == prefix or text_of(stored).startswith(start)

    def lift_equal(self, value: object) -> tuple[IndexScan, ...]:
        prefix = self.glob_prefix(value)
        return BaseType.lift_equal(self, value) if prefix is None else self.scan_under(prefix)

    def lift_prefix(self, value: object) -> tuple[IndexScan, ...]:
        return self.scan_under(self.normalize_prefix(value))

    def scan_under(self, prefix: str) -> tuple[IndexScan, ...]:
        """Scan a place and what lies in it."""
        key = f"{prefix}.".encode("utf-8", "surrogatepass")
        return (prefix_scan(key, self.under(prefix)),)


_WORD_CATEGORIES: Final = frozenset(("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "Pc"))
_JOINERS: Final = "\u200c\u200d"
_CIRCLED_LETTERS: Final = (
    ("\u24b6", "\u24e9"),
    ("\U0001f130", "\U0001f149"),
    ("\U0001f150", "\U0001f169"),
    ("\U0001f170", "\U0001f189"),
)
_KEPT_CHARACTER_COUNT: Final = 4096


def _words_of(text: str) -> list[str]:
    """Return what a text has of words, as Unicode sees them: accents that are characters of their own belong to theirs."""
    if text.isascii():
        return _WORDS.findall(text)
    return "".join([one if _is_of_word(one) else " " for one in text]).split()


@lru_cache(_KEPT_CHARACTER_COUNT)
def _is_of_word(character: str) -> bool:
    return (
        unicodedata.category(character) in _WORD_CATEGORIES
        or character in _JOINERS
        or any(first <= character <= last for first, last in _CIRCLED_LETTERS)
    )


class WordType(TextType):
    """One word of a tag or taxonomy: letters, digits and underscores; what lies between becomes one underscore."""

    def normalize(self, value: object) -> Normed:
        return Normed(self.word(value))

    def word(self, value: object) -> str:
        """Return the word, which is never empty."""
        # Small letters come last: that of one capital, the I with a dot, is two characters, of which one is no letter.
        text = "_".join(_words_of(self.to_text(value))).lower()
        if not text:
            raise self.bad("each part needs a letter or digit", value)
        return text


class TagType(WordType):
    """A tag: words joined by dots. Sub-values: `base` the last word, `depth`, `up` the tag above."""

    def normalize(self, value: object) -> Normed:
        words = self.words(value)
        subs: list[tuple[str, object]] = [("base", words[-1]), ("depth", len(words) - 1)]
        if len(words) > 1:
            subs.append(("up", ".".join(words[:-1])))
        return Normed(".".join(words), tuple(subs))

    def words(self, value: object) -> list[str]:
        """Return the words of a tag given as text or as a list of words."""
        if isinstance(value, (list, tuple)):
            parts: Sequence[object] = value
        else:
            parts = self.to_text(value).split(".")
        if not parts:
            raise self.bad("a tag has at least one word", value)
        return [self.word(part) for part in parts]


class TaxonomyType(WordType):
    """A place in a taxonomy: words joined and ended by dots, so that a prefix is a branch.

    Sub-values: `base` the last word, `depth`, `parent` the branch above.
    """

    def normalize(self, value: object) -> Normed:
        words = self.words(value)
        subs: list[tuple[str, object]] = [("base", words[-1]), ("depth", len(words) - 1)]
        if len(words) > 1:
            subs.append(("parent", _branch(words[:-1])))
        return Normed(_branch(words), tuple(subs))

    def words(self, value: object) -> list[str]:
        """Return the words of a taxonomy entry given as text or as a list of words."""
        if isinstance(value, (list, tuple)):
            parts: Sequence[object] = value
        else:
            parts = self.to_text(value).strip().strip(".").split(".")
        if not parts:
            raise self.bad("an entry has at least one word", value)
        return [self.word(part) for part in parts]

    def repr(self, value: Any) -> Any:
        return value.rstrip(".")

    def normalize_prefix(self, value: object) -> str:
        text = self.to_text(value).lower()
        self.words(text)
        return text

    def compare_prefix(self, value: object) -> Predicate:
        return _starting_with(self.normalize_prefix(value))


def _starting_with(prefix: str) -> Predicate:
    return lambda stored: text_of(stored).startswith(prefix)


def _branch(words: Sequence[str]) -> str:
    return ".".join(words) + "."
