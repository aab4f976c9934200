"""`$lib.cortex.httpapi`: endpoints of the extended HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.common.hashing import isguid
from cellmesh.cortex.storm.library.graph import user_iden
from cellmesh.cortex.storm.objects.http_apis import HttpApiObject
from cellmesh.cortex.storm.objects.http_requests import HttpRequestObject
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, torepr, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.stores.http_apis import HttpApis
    from cellmesh.cortex.storm.runtime.context import RunContext


def _store(context: RunContext) -> HttpApis:
    found: HttpApis = context.capability("http.apis")
    return found


def _add(
    context: RunContext,
    path: Any,
    name: Any,
    desc: Any,
    runas: Any,
    authenticated: Any,
    readonly: Any,
    iden: Any,
) -> HttpApiObject:
    facts = {
        "path": tostr(path),
        "name": torepr(name),
        "desc": torepr(desc),
        "runas": tostr(runas),
        "authenticated": tobool(authenticated),
        "readonly": tobool(readonly),
        "view": str(context.view.id),
        "creator": user_iden(context),
    }
    store = _store(context)
    return HttpApiObject(store, store.add(context.session, None if iden is None else tostr(iden), facts))


def _del(context: RunContext, iden: Any) -> None:
    text = tostr(iden)
    if not isguid(text):
        raise BadArg(f"{text[:80]} is no iden", name="iden")
    _store(context).remove(context.session, text)


def _get(context: RunContext, iden: Any) -> HttpApiObject:
    store = _store(context)
    return HttpApiObject(store, store.require(context.session, tostr(iden)))


def _by_path(context: RunContext, path: Any) -> HttpApiObject | None:
    store = _store(context)
    found = store.match(context.session, tostr(path))
    return None if found is None else HttpApiObject(store, found[0])


def _list(context: RunContext) -> list[HttpApiObject]:
    store = _store(context)
    return [HttpApiObject(store, row) for row in store.in_order(context.session)]


def _index(context: RunContext, iden: Any, index: Any) -> int:
    return _store(context).move(context.session, tostr(iden), toint(index))


def _response(context: RunContext, facts: Any) -> HttpRequestObject:
    found = toprim(facts)
    if not isinstance(found, dict):
        raise BadArg("what is known of a request is a dictionary", name="requestinfo")
    return HttpRequestObject(dict(found))


_IDEN: Final = ParameterSpec("iden", type="str", doc="The iden of the endpoint.")

LIBRARIES: Final = (
    LibrarySpec(
        ("cortex", "httpapi"),
        "Endpoints of the extended HTTP API, whose methods are queries.",
        (
            FunctionSpec(
                "add",
                "Make an endpoint, which runs in the view of this query.",
                _add,
                (
                    ParameterSpec(
                        "path",
                        type="str",
                        doc="A regular expression. It answers for paths that are matched from begin to end.",
                    ),
                    ParameterSpec("name", "", "str", "Its name."),
                    ParameterSpec("desc", "", "str", "What it is for."),
                    ParameterSpec(
                        "runas", "owner", "str", "Whom it runs as: `owner`, or `user` for who calls."
                    ),
                    ParameterSpec("authenticated", True, "bool", "Whether only users may call it."),
                    ParameterSpec("readonly", False, "bool", "Whether its queries may not edit."),
                    ParameterSpec("iden", None, "str", "Its iden; null for any."),
                ),
                "http:api",
                changes_state=True,
            ),
            FunctionSpec("del", "Remove an endpoint.", _del, (_IDEN,), changes_state=True),
            FunctionSpec("get", "An endpoint.", _get, (_IDEN,), "http:api"),
            FunctionSpec(
                "getByPath",
                "The endpoint that answers for a path; null if there is none.",
                _by_path,
                (ParameterSpec("path", type="str", doc="The path."),),
                "http:api",
            ),
            FunctionSpec(
                "index",
                "Put an endpoint at a place in the order, in which their patterns are tried; gives the place it has.",
                _index,
                (_IDEN, ParameterSpec("index", 0, "int", "The place.")),
                "int",
                changes_state=True,
            ),
            FunctionSpec("list", "All endpoints, in their order.", _list, (), "list"),
            FunctionSpec(
                "response",
                "A request made of what is known of it, such as `$request`.",
                _response,
                (
                    ParameterSpec(
                        "requestinfo",
                        type="dict",
                        doc="iden, uri, method, path, args, params, headers, body, client, user.",
                    ),
                ),
                "http:api:request",
            ),
        ),
    ),
)
