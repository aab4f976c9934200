"""`$lib.crypto.jwt`: JSON Web Tokens."""

from __future__ import annotations

import json
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cellmesh.common.errors import BadArg, BadCast, CellError
from cellmesh.cortex.storm.formats.json_tokens import (
    ALGORITHMS,
    Claims,
    Token,
    check_claims,
    holds,
    key_of_dict,
    keys_of_set,
    require_algorithm,
    take_apart,
)
from cellmesh.cortex.storm.library.http import PROXY, TLS, VERIFY, confirm_proxy, http_request
from cellmesh.cortex.storm.objects.tokens import JsonToken, token_key
from cellmesh.cortex.storm.outside.http_calls import NO_ANSWER, send
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

KEY_SET_TIMEOUT_S: Final = 30
_OK: Final = 200


def _generate(context: RunContext, payload: Any) -> JsonToken:
    plain = toprim(payload)
    if plain is not None and not isinstance(plain, dict):
        raise BadArg("the payload is a dictionary", name="payload")
    return JsonToken(dict(plain or {}))


def _parse(context: RunContext, token: Any) -> dict[str, Any]:
    # The payload is left out on purpose: nothing shows yet who wrote it.
    return {"typ": "JWS", "header": take_apart(tostr(token)).header}


def _verify(
    context: RunContext,
    token: Any,
    key: Any,
    algorithms: Any,
    audience: Any,
    issuer: Any,
    subject: Any,
    leeway: Any,
    kind: Any,
    required: Any,
    options: Any,
    key_set: Any,
    verifies: Any,
    tls: Any,
    proxy: Any,
    is_internal: Any,
) -> tuple[bool, Any]:
    try:
        allowed = _algorithms(context, algorithms)
        found = take_apart(tostr(token))
        algorithm = found.header.get("alg")
        if algorithm not in allowed:
            raise BadArg(f"the token's algorithm {algorithm} is none of those allowed", alg=str(algorithm))
        if "crit" in found.header:
            raise BadArg("the token's header has extensions that must be understood", name="crit")
        if key is not None:
            is_good = holds(found, algorithm, _key(key, algorithm))
        elif key_set is not None:
            keys = _keys(context, tostr(key_set), found, verifies, tls, proxy, tobool(is_internal))
            is_good = _one_holds(found, algorithm, keys)
        else:
            raise BadArg("either a key or a jwks_uri is needed", name="key")
        if not is_good:
            raise BadArg("the signature is not one of the key", name="token")
        check_claims(
            found,
            Claims(
                audience=_expected(context, audience),
                issuer=_expected(context, issuer),
                subject=None if subject is None else tostr(subject),
                leeway_s=toint(leeway),
                typ=None if kind is None else tostr(kind),
                required=[tostr(one) for one in toiter(context, required)],
                ignored=_ignored(options),
            ),
        )
    except CellError as error:
        return (False, (error.name, {"mesg": error.message, **error.errinfo}))
    return (True, JsonToken(found.payload, found.header, found.signature))


def _algorithms(context: RunContext, value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)) or not value:
        raise BadArg("algorithms are a list of at least one", name="algorithms")
    return [require_algorithm(tostr(one)) for one in value]


def _expected(context: RunContext, value: Any) -> str | list[str] | None:
    if value is None or isinstance(value, str):
        return value
    return [tostr(one) for one in toiter(context, value)]


def _ignored(options: Any) -> frozenset[str]:
    given = toprim(options) or {}
    if not isinstance(given, dict):
        raise BadCast("options are a dictionary", name="options")
    names = ("exp", "nbf", "iat", "aud", "iss", "sub")
    return frozenset(name for name in names if not tobool(given.get(f"verify_{name}", True)))


def _key(value: Any, algorithm: str) -> Any:
    plain = toprim(value) if not isinstance(value, (str, bytes)) and isinstance(value, dict) else None
    return token_key(value, algorithm) if plain is None else key_of_dict(plain)


def _keys(
    context: RunContext, url: str, token: Token, verifies: Any, tls: Any, proxy: Any, is_internal: bool
) -> list[tuple[str | None, Any]]:
    confirm_proxy(context, proxy)
    _check_address(url, is_internal)
    context.session.pause()
    request = http_request(
        "GET", url, None, verifies=verifies, tls=tls, proxy=proxy, timeout=KEY_SET_TIMEOUT_S, follows=False
    )
    answer = send(request)
    context.tick()
    if answer.code == NO_ANSWER:
        raise BadArg(f"{url} does not answer: {answer.reason}", name="jwks_uri")
    if answer.code != _OK:
        raise BadArg(f"{url} answers with {answer.code}", name="jwks_uri", code=answer.code)
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise BadArg("jwks_uri gives no JSON", name="jwks_uri") from None
    wanted = token.header.get("kid")
    return keys_of_set(found, wanted if isinstance(wanted, str) else None)


def _check_address(url: str, is_internal: bool) -> None:
    """Refuse what is not https, and addresses inside of a network unless they are asked for."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise BadArg("jwks_uri is a URL of https", url=url)
    if is_internal:
        return
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BadArg(f"{parts.hostname} has no address: {error}", name="jwks_uri") from error
    for *_, address in found:
        if not ip_address(str(address[0]).partition("%")[0]).is_global:
            raise BadArg(
                f"{parts.hostname} is {address[0]}, which is no public address; allowinternal=(true) allows it",
                host=parts.hostname,
            )


def _one_holds(token: Token, algorithm: str, keys: list[tuple[str | None, Any]]) -> bool:
    for named, key in keys:
        if named is not None and named != algorithm:
            continue
        try:
            if holds(token, algorithm, key):
                return True
        except BadArg:
            # A key of another kind, which the set has as well.
            continue
    return False


_TOKEN: Final = ParameterSpec("token", type="str", doc="The token.")

LIBRARIES: Final = (
    LibrarySpec(
        ("crypto", "jwt"),
        "JSON Web Tokens.",
        (
            FunctionSpec(
                "generate",
                "A token with claims, to be signed.",
                _generate,
                (ParameterSpec("payload", None, "dict", "The claims."),),
                "crypto:jwt",
            ),
            FunctionSpec(
                "parse",
                "The header of a token. Its claims are told once it is verified.",
                _parse,
                (_TOKEN,),
                "dict",
            ),
            FunctionSpec(
                "verify",
                "Whether a token is signed by a key and its claims hold; then the token, or what is wrong with it.",
                _verify,
                (
                    _TOKEN,
                    ParameterSpec("key", type="str", doc="The key or secret; null to take it from jwks_uri."),
                    ParameterSpec("algorithms", type="list", doc="The algorithms allowed."),
                    ParameterSpec("audience", None, "str", "What aud must be; one of several."),
                    ParameterSpec("issuer", None, "str", "What iss must be; one of several."),
                    ParameterSpec("subject", None, "str", "What sub must be."),
                    ParameterSpec("leeway", 0, "int", "Seconds by which clocks may differ."),
                    ParameterSpec("typ", None, "str", "What typ in the header must be."),
                    ParameterSpec("requiredclaims", None, "list", "Claims that must be there."),
                    ParameterSpec(
                        "options", None, "dict", "Checks to leave out: verify_exp and the like as false."
                    ),
                    ParameterSpec("jwks_uri", None, "str", "Where the issuer's keys are, by https."),
                    VERIFY,
                    TLS,
                    PROXY,
                    ParameterSpec("allowinternal", False, "bool", "Allow a jwks_uri inside of the network."),
                ),
                "list",
            ),
        ),
        (
            AttributeSpec(
                "algorithms",
                "The algorithms that tokens are signed by.",
                lambda c, s: list(ALGORITHMS),
                "list",
            ),
        ),
    ),
)
