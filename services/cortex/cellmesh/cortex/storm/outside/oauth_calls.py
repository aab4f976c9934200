"""What is asked of OAuth 2 providers (RFC 6749, RFC 7636, RFC 7523), and signatures of OAuth 1 (RFC 5849)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit, urlunsplit

from cellmesh.common.errors import CellError, StormRuntimeError
from cellmesh.cortex.storm.outside.http_calls import NO_ANSWER, HttpRequest, send

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

TIMEOUT_S: Final = 30.0
DEFAULT_LIFE_S: Final = 3600
"""How long a token is good whose provider does not say."""

REFRESH_AT: Final = 0.5
"""The part of its life after which a token is fetched anew."""

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_OK: Final = 200
_REFUSED: Final = range(400, 500)
_TEXT_SIZE_MAX: Final = 200

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What a provider answered.

    Attributes:
        facts: What is kept of the token; None if there is none.
        error: What went wrong, without anything secret.
        is_final: Whether asking again would not help.
    """

    facts: Facts | None
    error: str = ""
    is_final: bool = False


def fetch(
    context: RunContext, provider: Facts, grant: Mapping[str, str], old: Facts | None = None
) -> TokenAnswer:
    """Ask a provider for a token.

    Args:
        context: The query that waits for it.
        provider: The provider, with its secret.
        grant: What is asked with: grant_type and what belongs to it.
        old: What was known before; its refresh token is kept if no new one comes.
    """
    form = dict(grant)
    headers: list[tuple[str, str]] = [("Accept", "application/json")]
    if provider["auth_scheme"] == "basic":
        text = f"{quote_plus(provider['client_id'])}:{quote_plus(provider.get('client_secret', ''))}"
        headers.append(("Authorization", f"Basic {base64.b64encode(text.encode()).decode()}"))
    else:
        try:
            form["client_assertion"] = _assertion(context, provider)
        except CellError as error:
            return TokenAnswer(None, f"the client assertion cannot be made: {error.name}")
        form["client_assertion_type"] = ASSERTION_TYPE
        form["client_id"] = provider["client_id"]
    context.session.pause()
    answer = send(
        HttpRequest(
            "POST",
            provider["token_uri"],
            headers,
            form=form,
            timeout_s=TIMEOUT_S,
            follows=False,
            verifies=bool(provider["ssl_verify"]),
        )
    )
    context.tick()
    if answer.code == NO_ANSWER:
        return TokenAnswer(None, f"the provider does not answer: {answer.reason[:_TEXT_SIZE_MAX]}")
    try:
        told = json.loads(answer.body)
    except (ValueError, RecursionError):
        told = None
    if answer.code != _OK or not isinstance(told, dict) or not isinstance(told.get("access_token"), str):
        return TokenAnswer(None, _reason(answer.code, told), answer.code in _REFUSED)
    return TokenAnswer(_kept(told, old))


def _reason(code: int, told: Any) -> str:
    known = told if isinstance(told, dict) else {}
    parts = [str(known[name])[:_TEXT_SIZE_MAX] for name in ("error", "error_description") if name in known]
    return f"the provider gives no token, with code {code}" + (f": {': '.join(parts)}" if parts else "")


def _kept(told: Facts, old: Facts | None) -> Facts:
    life = told.get("expires_in")
    is_number = isinstance(life, (int, float, str)) and str(life).split(".", maxsplit=1)[0].isdigit()
    life_s = max(1.0, float(life)) if is_number and life is not None else float(DEFAULT_LIFE_S)
    now_ms = time.time_ns() // 1_000_000
    refresh = told.get("refresh_token") or (old or {}).get("refresh_token")
    found: Facts = {
        "access_token": told["access_token"],
        "expires_in": int(life_s),
        "expires_at": now_ms + int(life_s * 1000),
        "refresh_at": now_ms + int(life_s * 1000 * REFRESH_AT),
    }
    if isinstance(refresh, str):
        found["refresh_token"] = refresh
    return found


def _assertion(context: RunContext, provider: Facts) -> str:
    """Have a query of the provider's definition make what proves who asks; it returns whether it went well, and facts."""
    rules = provider["client_assertion"]["cortex:callstorm"]
    found = context.value_of(str(rules.get("query", "")), rules.get("vars") or {})
    if not isinstance(found, (list, tuple)) or len(found) != 2 or not found[0]:
        raise StormRuntimeError("the query of client_assertion returns no assertion", name="client_assertion")
    token = found[1].get("token") if isinstance(found[1], dict) else None
    if not isinstance(token, str):
        raise StormRuntimeError("the query of client_assertion returns no token", name="client_assertion")
    return token


def usable(facts: dict[str, Any] | None) -> tuple[bool, str]:
    """Return whether a token can be used, with it, or with what is wrong."""
    if facts is None:
        return (False, "Auth code has not been set")
    if "error" in facts:
        return (False, str(facts["error"]))
    if facts["expires_at"] <= time.time_ns() // 1_000_000:
        return (False, "Token is expired")
    return (True, str(facts["access_token"]))


# OAuth 1.


def _escaped(text: str) -> str:
    return quote(text, safe="-._~")


def signed_pairs(
    method: str, url: str, pairs: Sequence[tuple[str, str]], keys: tuple[str, str, str, str]
) -> list[tuple[str, str]]:
    """Return the parameters that sign a request by HMAC-SHA1.

    Args:
        method: The method.
        url: The URL.
        pairs: All other parameters, those of the URL's query and of a form included.
        keys: Key and secret of the client, token and its secret.
    """
    client, client_secret, token, token_secret = keys
    made = [
        ("oauth_nonce", secrets.token_hex(16)),
        ("oauth_timestamp", str(int(time.time()))),
        ("oauth_version", "1.0"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_consumer_key", client),
        ("oauth_token", token),
    ]
    return [*made, ("oauth_signature", signature(method, url, [*pairs, *made], client_secret, token_secret))]


def signature(
    method: str, url: str, pairs: Sequence[tuple[str, str]], client_secret: str, token_secret: str
) -> str:
    """Return the signature of a request over all its parameters, as section 3.4 of RFC 5849 has it."""
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    default = {"http": 80, "https": 443}.get(scheme)
    place = host if parts.port in (None, default) else f"{host}:{parts.port}"
    base_url = urlunsplit((scheme, place, parts.path or "/", "", ""))
    escaped = sorted((_escaped(name), _escaped(value)) for name, value in pairs)
    listed = "&".join(f"{name}={value}" for name, value in escaped)
    base = "&".join(_escaped(text) for text in (method.upper(), base_url, listed))
    key = f"{_escaped(client_secret)}&{_escaped(token_secret)}"
    digest = hmac.new(key.encode(), base.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def query_pairs(url: str) -> list[tuple[str, str]]:
    """Return the parameters in a URL's query."""
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)
