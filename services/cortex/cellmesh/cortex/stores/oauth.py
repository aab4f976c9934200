"""OAuth 2: how tokens are asked for at providers, and the tokens of users."""

from __future__ import annotations

import re
from typing import Any, Final

from cellmesh.common.errors import BadArg, DupIden, SchemaViolation
from cellmesh.common.storage import ReadTxn
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.stores.named import NamedValues
from cellmesh.cortex.stores.schema import OAUTH_PROVIDERS, OAUTH_TOKENS
from cellmesh.cortex.values.wire import decode_value, encode_value

SECRET: Final = "client_secret"
"""What of a provider no query sees."""

FLOWS: Final = ("authorization_code", "client_credentials")
SCHEMES: Final = ("basic", "client_assertion")

DEFAULTS: Final[dict[str, Any]] = {
    "flow_type": "authorization_code",
    "auth_scheme": "basic",
    "ssl_verify": True,
}
_TEXTS: Final = ("name", "client_id", "scope", "token_uri")
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "iden": (str,),
    **dict.fromkeys((*_TEXTS, "auth_uri", "redirect_uri", SECRET, "flow_type", "auth_scheme"), (str,)),
    "ssl_verify": (bool,),
    "extensions": (dict,),
    "extra_auth_params": (dict,),
    "client_assertion": (dict,),
}
_IDEN: Final = re.compile("[0-9a-f]{32}")
_SEPARATOR: Final = "\0"

Facts = dict[str, Any]


def checked(given: Any) -> Facts:
    """Return the definition of a provider with defaults filled in.

    Raises:
        SchemaViolation: something in it is missing, not known, or of the wrong kind.
    """
    if not isinstance(given, dict):
        raise SchemaViolation("a provider is a dictionary", name="conf")
    found = {**DEFAULTS, **given}
    for name, value in found.items():
        if name not in _KINDS or not isinstance(value, _KINDS[name]):
            raise SchemaViolation(f"{str(name)[:100]} of a provider cannot be so", name=str(name)[:100])
    wanted: tuple[str, ...] = ("iden", *_TEXTS)
    if found["flow_type"] == "authorization_code":
        wanted = (*wanted, "auth_uri", "redirect_uri")
    for name in wanted:
        if not found.get(name):
            raise SchemaViolation(f"a provider has {name}", name=name)
    if not _IDEN.fullmatch(found["iden"]):
        raise SchemaViolation("the iden of a provider has 32 hexadecimal digits", name="iden")
    for name, known in (("flow_type", FLOWS), ("auth_scheme", SCHEMES)):
        if found[name] not in known:
            raise SchemaViolation(f"{name} is one of {', '.join(known)}", name=name)
    assertion = found.get("client_assertion")
    if found["auth_scheme"] == "client_assertion" and (
        not isinstance(assertion, dict) or not isinstance(assertion.get("cortex:callstorm"), dict)
    ):
        raise SchemaViolation("client_assertion has a query as cortex:callstorm", name="client_assertion")
    for name in ("token_uri", "auth_uri", "redirect_uri"):
        if name in found and not str(found[name]).startswith(("https://", "http://")):
            raise SchemaViolation(f"{name} is a URL", name=name)
    return found


def shown(provider: Facts) -> Facts:
    """Return what queries see of a provider."""
    return {name: value for name, value in provider.items() if name != SECRET}


class OAuthStore:
    """The providers and tokens of a cell. Nothing here is ever logged.

    Args:
        changes: How changes are written.
    """

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._providers = NamedValues(OAUTH_PROVIDERS, changes, "provider")
        self._tokens = NamedValues(OAUTH_TOKENS, changes, "token")

    # Providers.

    def add(self, access: Access, provider: Facts) -> None:
        """Keep a provider; raises DupIden."""
        if self._providers.get(access, provider["iden"]) is not None:
            raise DupIden("there is a provider of this iden", iden=provider["iden"])
        self._providers.put(access, provider["iden"], provider)

    def get(self, access: Access, iden: str) -> Facts | None:
        """Return a provider with its secret, or None."""
        found: Facts | None = self._providers.get(access, iden)
        return found

    def require(self, access: Access, iden: str) -> Facts:
        """Return a provider with its secret; raises BadArg."""
        found = self.get(access, iden)
        if found is None:
            raise BadArg(f"there is no OAuth provider {iden[:64]}", iden=iden[:64])
        return found

    def all(self, access: Access) -> list[tuple[str, Facts]]:
        """Return all providers by iden, with their secrets."""
        return self._providers.all(access)

    def remove(self, access: Access, iden: str) -> Facts | None:
        """Remove a provider and the tokens of all users; returns what it was, or None."""
        for key, _ in self._tokens.all(access):
            if key.startswith(iden + _SEPARATOR):
                self._tokens.pop(access, key)
        found: Facts | None = self._providers.pop(access, iden)
        return found

    # Tokens.

    def token(self, access: Access, iden: str, user: str) -> Facts | None:
        """Return what is known of a user's token, or None."""
        found: Facts | None = self._tokens.get(access, iden + _SEPARATOR + user)
        return found

    def put_token(self, access: Access, iden: str, user: str, facts: Facts, old: Facts | None = None) -> bool:
        """Keep a user's token; returns whether it was.

        It is not if the provider was removed meanwhile or, with `old`, what was known of the token is something else.
        """
        key = self._tokens.key(iden + _SEPARATOR + user)
        data = encode_value(facts)

        def op(rows: Rows) -> bool:
            if rows.txn.get(OAUTH_PROVIDERS, iden.encode()) is None:
                return False
            if old is not None:
                known = rows.txn.get(OAUTH_TOKENS, key)
                if known is None or decode_value(known) != old:
                    return False
            rows.put(OAUTH_TOKENS, key, data)
            return True

        return self._changes.run(access, op)

    def pop_token(self, access: Access, iden: str, user: str) -> Facts | None:
        """Forget a user's token; returns what was known of it, or None."""
        found: Facts | None = self._tokens.pop(access, iden + _SEPARATOR + user)
        return found

    def load_tokens(self, txn: ReadTxn) -> list[tuple[str, str, Facts]]:
        """Return all tokens, with the idens of provider and user."""
        return [(*_parts(key), facts) for key, facts in self._tokens.load(txn)]


def _parts(key: str) -> tuple[str, str]:
    iden, _, user = key.partition(_SEPARATOR)
    return iden, user
