"""What signs requests by OAuth 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from cellmesh.common.errors import BadArg, StormRuntimeError
from cellmesh.cortex.storm.outside.oauth_calls import query_pairs, signed_pairs
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

SIGNATURE_PLACES: Final = ("BODY", "HEADER", "QUERY")
FORM: Final = "application/x-www-form-urlencoded"


class OAuthClient:
    """Keys, and where the signature goes.

    Args:
        keys: Key and secret of the client, token and its secret.
        place: One of SIGNATURE_PLACES.

    Raises:
        BadArg: it cannot go there.
    """

    __slots__ = ("keys", "place")

    def __init__(self, keys: tuple[str, str, str, str], place: str) -> None:
        if place not in SIGNATURE_PLACES:
            raise BadArg(f"sigtype is one of {', '.join(SIGNATURE_PLACES)}", name="sigtype", valu=place[:40])
        self.keys = keys
        self.place = place

    def storm_text(self) -> str:
        """Return what is printed, which tells no secret."""
        return f"inet:http:oauth:v1:client: {self.keys[0]}"


def _pairs(value: Any, name: str) -> list[tuple[str, str]]:
    found = toprim(value) or {}
    if not isinstance(found, dict):
        raise BadArg(f"{name} is a dictionary", name=name)
    return [(tostr(key), tostr(item)) for key, item in found.items()]


def _sign(
    context: RunContext, self: OAuthClient, url: Any, method: Any, headers: Any, params: Any, body: Any
) -> tuple[str, dict[str, str], Any]:
    text, verb = tostr(url), tostr(method).upper()
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise StormRuntimeError("only URLs of http and https are signed", url=text[:200])
    sent = dict(_pairs(headers, "headers"))
    query = [*query_pairs(text), *_pairs(params, "params")]
    plain = toprim(body)
    form = _pairs(plain, "body") if isinstance(plain, dict) else []
    if self.place == "BODY" and plain is not None and not isinstance(plain, dict):
        raise StormRuntimeError("a signature in the body needs a form as body", name="body")
    made = signed_pairs(verb, text, [*query, *form], self.keys)
    if self.place == "QUERY":
        query.extend(made)
    elif self.place == "BODY":
        form.extend(made)
    else:
        listed = ", ".join(
            f'{name}="{urlencode({"": value})[1:].replace("+", "%20")}"' for name, value in made
        )
        sent["Authorization"] = f"OAuth {listed}"
    if form:
        sent["Content-Type"] = FORM
        plain = urlencode(form)
    return (urlunsplit(parts._replace(query=urlencode(query))), sent, plain)


TYPES: Final = (
    TypeSpec(
        "inet:http:oauth:v1:client",
        OAuthClient,
        "What signs requests by OAuth 1.",
        (
            FunctionSpec(
                "sign",
                "Sign a request; gives its URL, headers and body.",
                _sign,
                (
                    ParameterSpec("baseurl", type="str", doc="The URL."),
                    ParameterSpec("method", "GET", "str", "The method."),
                    ParameterSpec("headers", None, "dict", "Headers to send."),
                    ParameterSpec("params", None, "dict", "Parameters for the URL."),
                    ParameterSpec(
                        "body", None, "bytes", "A body; a dictionary is a form, which is signed too."
                    ),
                ),
                "list",
            ),
        ),
    ),
)
