"""`$lib.inet.http.oauth`: requests signed by OAuth 1, and tokens of OAuth 2 providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.stores.oauth import OAuthStore, checked, shown
from cellmesh.cortex.storm.library.graph import user_iden
from cellmesh.cortex.storm.objects.oauth import SIGNATURE_PLACES, OAuthClient
from cellmesh.cortex.storm.outside.oauth_calls import fetch, usable
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def _store(context: RunContext) -> OAuthStore:
    found: OAuthStore = context.capability("oauth")
    return found


def _client(
    context: RunContext, key: Any, secret: Any, token: Any, token_secret: Any, place: Any
) -> OAuthClient:
    return OAuthClient((tostr(key), tostr(secret), tostr(token), tostr(token_secret)), tostr(place))


# Providers.


def _add(context: RunContext, conf: Any) -> None:
    _store(context).add(context.session, checked(toprim(conf)))


def _del(context: RunContext, iden: Any) -> dict[str, Any] | None:
    found = _store(context).remove(context.session, tostr(iden))
    return None if found is None else shown(found)


def _get(context: RunContext, iden: Any) -> dict[str, Any] | None:
    found = _store(context).get(context.session, tostr(iden))
    return None if found is None else shown(found)


def _list(context: RunContext) -> list[Any]:
    return [(iden, shown(provider)) for iden, provider in _store(context).all(context.session)]


# Tokens. Each user has the own ones only.


def _set_code(context: RunContext, iden: Any, code: Any, verifier: Any) -> None:
    text = tostr(iden)
    provider = _store(context).require(context.session, text)
    grant = {
        "grant_type": "authorization_code",
        "scope": provider["scope"],
        "redirect_uri": provider.get("redirect_uri", ""),
        "code": tostr(code),
    }
    if verifier is not None:
        grant["code_verifier"] = tostr(verifier)
    found = fetch(context, provider, grant)
    if found.facts is None:
        raise StormRuntimeError(f"no token is given: {found.error}", iden=text)
    _store(context).put_token(context.session, text, user_iden(context), found.facts)


def _token(context: RunContext, iden: Any) -> tuple[bool, str]:
    text, user = tostr(iden), user_iden(context)
    store = _store(context)
    provider = store.require(context.session, text)
    known = usable(store.token(context.session, text, user))
    if known[0] or provider["flow_type"] != "client_credentials":
        return known
    found = fetch(context, provider, {"grant_type": "client_credentials", "scope": provider["scope"]})
    if found.facts is None:
        return (False, found.error)
    # Asked for when it is needed; it comes without anything to fetch it anew by.
    store.put_token(context.session, text, user, found.facts)
    return (True, str(found.facts["access_token"]))


def _clear(context: RunContext, iden: Any) -> dict[str, Any] | None:
    return _store(context).pop_token(context.session, tostr(iden), user_iden(context))


_IDEN: Final = ParameterSpec("iden", type="str", doc="The iden of the provider.")

LIBRARIES: Final = (
    LibrarySpec(
        ("inet", "http", "oauth", "v1"),
        "Requests signed by OAuth 1.",
        (
            FunctionSpec(
                "client",
                "What signs requests.",
                _client,
                (
                    ParameterSpec("ckey", type="str", doc="The client's key."),
                    ParameterSpec("csecret", type="str", doc="The client's secret."),
                    ParameterSpec("atoken", type="str", doc="The token."),
                    ParameterSpec("asecret", type="str", doc="The token's secret."),
                    ParameterSpec(
                        "sigtype", "QUERY", "str", "Where the signature goes: QUERY, BODY, HEADER."
                    ),
                ),
                "inet:http:oauth:v1:client",
            ),
        ),
        (),
        {f"SIG_{place}": place for place in SIGNATURE_PLACES},
    ),
    LibrarySpec(
        ("inet", "http", "oauth", "v2"),
        "Tokens of OAuth 2 providers. They are fetched anew by themselves before they end.",
        (
            FunctionSpec(
                "addProvider",
                "Keep how tokens are asked for at a provider. Its secret is not shown again.",
                _add,
                (
                    ParameterSpec(
                        "conf", type="dict", doc="iden, name, client_id, client_secret, scope and URLs."
                    ),
                ),
                changes_state=True,
            ),
            FunctionSpec(
                "clearUserAccessToken",
                "Forget the user's token; gives what was known of it.",
                _clear,
                (_IDEN,),
                "dict",
                changes_state=True,
            ),
            FunctionSpec(
                "delProvider",
                "Remove a provider and all tokens of it; gives what it was.",
                _del,
                (_IDEN,),
                "dict",
                changes_state=True,
            ),
            FunctionSpec("getProvider", "A provider; null if there is none.", _get, (_IDEN,), "dict"),
            FunctionSpec(
                "getUserAccessToken",
                "Whether the user has a token that can be used; then the token, or what is wrong.",
                _token,
                (_IDEN,),
                "list",
                may_change=True,
            ),
            FunctionSpec(
                "listProviders", "The idens of all providers, with what is known of them.", _list, (), "list"
            ),
            FunctionSpec(
                "setUserAuthCode",
                "Give a provider the code that the user got from it, for a token.",
                _set_code,
                (
                    _IDEN,
                    ParameterSpec("authcode", type="str", doc="The code."),
                    ParameterSpec("code_verifier", None, "str", "The verifier of PKCE, if one was used."),
                ),
                changes_state=True,
            ),
        ),
    ),
)
