"""Which user of a cell a user's certificate is for, by rules in its settings.

    alice@demo=al          the certificate of alice@demo is for the user al
    robot-*@demo=robot     * stands for any characters
    *@partner=guest
    *@demo=*               for the user of the same name; so it is where no rule matches
    *@*=-                  for nobody

The first rule that matches decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from cellmesh.common.auth.principals import check_name
from cellmesh.common.errors import BadArg, BadName
from cellmesh.common.tls.identity import UserIdentity

SAME: Final = "*"
NOBODY: Final = "-"

_PATTERN_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.+-@*")


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """Certificates of some names are for one user.

    Attributes:
        name: Of the certificates, before the last @; * stands for any characters.
        network: Of the certificates; * stands for any characters.
        user: The user; "*" for the one of the same name, "-" for nobody.
    """

    name: str
    network: str
    user: str

    def matches(self, identity: UserIdentity) -> bool:
        """Whether it speaks of this certificate."""
        return fnmatchcase(identity.user, self.name) and fnmatchcase(identity.network, self.network)

    @classmethod
    def parse(cls, text: str) -> CertificateRule:
        """Read `alice@demo=al`. Raises BadArg."""
        pattern, equals, user = text.strip().partition("=")
        name, at, network = pattern.strip().rpartition("@")
        user = user.strip()
        if not (equals and at and name and network and user and _PATTERN_CHARS.issuperset(pattern.strip())):
            raise BadArg(f"{text[:200]!r} is no rule such as alice@demo=al", name="auth_certificates")
        if user not in (SAME, NOBODY):
            try:
                check_name(user)
            except BadName as error:
                raise BadArg(
                    f"{text[:200]!r} names no user: {error.message}", name="auth_certificates"
                ) from error
        return cls(name, network, user)


def parse_rules(texts: Iterable[str]) -> tuple[CertificateRule, ...]:
    """Read rules. Raises BadArg."""
    return tuple(CertificateRule.parse(text) for text in texts)


def user_name_of(identity: UserIdentity, rules: Sequence[CertificateRule]) -> str:
    """The name of the user that a certificate is for; empty for nobody."""
    for rule in rules:
        if rule.matches(identity):
            return identity.user if rule.user == SAME else "" if rule.user == NOBODY else rule.user
    return identity.user


__all__ = ["CertificateRule", "parse_rules", "user_name_of"]
