"""Requests to the extended HTTP API answered: the endpoint found, its query run, its events made into an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cellmesh.common.errors import AuthDeny, CellError, NoSuchPath, StormRuntimeError, Unauthenticated
from cellmesh.cortex.storm.objects.http_requests import (
    BODY_EVENT,
    CODE_EVENT,
    HEADERS_EVENT,
    JSON_TYPE,
    HttpRequestObject,
)
from cellmesh.cortex.storm.runtime.messages import Error, Fire, Message
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm.text_tools import json_text

if TYPE_CHECKING:
    from cellmesh.common.auth.store import AuthStore
    from cellmesh.cortex.stores.http_apis import HttpApis
    from cellmesh.cortex.storm.engine import Engine
    from cellmesh.cortex.storm.execution import Running

Pairs: TypeAlias = tuple[tuple[str, str], ...]

OK: Final = 200
UNAUTHENTICATED: Final = 401
DENIED: Final = 403
NO_ENDPOINT: Final = 404
NO_METHOD: Final = 405
FAILED: Final = 500


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request.

    Attributes:
        method: As sent.
        path: Decoded, below the root of the API.
        headers, params: Names and values, in order.
        body: All of it.
        uri, client: As known, or empty.
        user: Name of the user whose it is; empty for nobody.
        has_all_rights: Whether the user may do everything although no user of this cell.
    """

    method: str
    path: str
    headers: Pairs = ()
    params: Pairs = ()
    body: bytes = b""
    uri: str = ""
    client: str = ""
    user: str = ""
    has_all_rights: bool = False


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What comes before the body of an answer."""

    code: int
    headers: Pairs = ()


Part: TypeAlias = "AnswerHead | bytes"


class Answering:
    """Answers one request.

    Args:
        engine: Runs the query.
        auth: The users of the cell.
        store: The endpoints.
        request: The request.
        send: Takes the head of the answer, then parts of its body; may block.
    """

    def __init__(
        self,
        engine: Engine,
        auth: AuthStore,
        store: HttpApis,
        request: ApiRequest,
        send: Callable[[Part], None],
    ) -> None:
        self._engine = engine
        self._auth = auth
        self._store = store
        self._request = request
        self._send = send
        self._code: int | None = None
        self._headers: dict[str, str] = {}
        self._has_begun = False
        self._error: CellError | None = None

    def run(self, started: Callable[[Running], None]) -> None:
        """Answer it.

        Args:
            started: Told the query before it runs.

        Raises:
            CellError: what the query failed with after a part of the body had left.
        """
        options = self._prepare()
        if options is None:
            return
        text, query_options = options
        running = self._engine.start(text, query_options)
        started(running)
        running.send_to(self._take)
        if self._error is None and self._code is None:
            self._error = StormRuntimeError("the query of the endpoint has set no status code", name="code")
        if self._error is None:
            self._begin()
        elif self._has_begun:
            raise self._error
        else:
            self._refuse(FAILED, self._error)

    # What keeps it from running -------------------------------------------------------------------------------

    def _prepare(self) -> tuple[str, QueryOptions] | None:
        request = self._request
        graph = self._engine.graph
        with graph.begin(user=request.user or "root", readonly=True) as session:
            found = self._store.match(session, request.path)
        if found is None:
            error = NoSuchPath(f"no endpoint answers for {request.path[:200]}", path=request.path[:200])
            self._refuse(NO_ENDPOINT, error)
            return None
        row, groups = found
        method = request.method.lower()
        text = row["methods"].get(method)
        if text is None:
            allowed = ", ".join(name.upper() for name in row["methods"])
            self._refuse(
                NO_METHOD,
                StormRuntimeError(
                    f"the endpoint answers to {allowed or 'no method'}", name=request.method[:20]
                ),
                (("Allow", allowed),),
            )
            return None
        user = self._auth.policy.find_user(request.user) if request.user else None
        if row["authenticated"] and not self._may_call(row, user):
            return None
        facts = {
            "iden": row["iden"],
            "uri": request.uri,
            "method": request.method.upper(),
            "path": request.path,
            "args": groups,
            "headers": _first(request.headers, lower=True),
            "params": _first(request.params),
            "body": request.body,
            "client": request.client,
            "user": user.user_id if user is not None else request.user,
        }
        runs_as_caller = row["runas"] == "user" and bool(request.user)
        options = QueryOptions(
            vars={**row["vars"], "request": HttpRequestObject(facts)},
            view=row["view"],
            user=request.user if runs_as_caller else self._owner(row["owner"]),
            readonly=row["readonly"],
            has_all_rights=runs_as_caller and request.has_all_rights,
        )
        return text, options

    def _owner(self, iden: str) -> str:
        found = self._auth.policy.users.get(iden)
        # An owner who is no user any more, or never was one of this cell, may do nothing.
        return found.name if found is not None else iden

    def _may_call(self, row: dict[str, Any], user: Any) -> bool:
        request = self._request
        if not request.user:
            self._refuse(UNAUTHENTICATED, Unauthenticated("the endpoint is for users", name="user"))
            return False
        if request.has_all_rights:
            return True
        if user is None or not user.active:
            self._refuse(UNAUTHENTICATED, Unauthenticated(f"there is no user {request.user}", name="user"))
            return False
        for permission in row["perms"]:
            path, default = tuple(permission["perm"]), permission["default"]
            if not user.admin and not self._auth.policy.allowed(user.user_id, path, "", default=default):
                text = ".".join(path)
                error = AuthDeny(
                    f"user {user.name} needs the permission {text}",
                    perm=text,
                    user=user.user_id,
                    username=user.name,
                )
                self._refuse(DENIED, error)
                return False
        return True

    def _refuse(self, code: int, error: CellError, headers: Pairs = ()) -> None:
        body = json_text({"status": "err", "code": error.name, "mesg": error.message}).encode()
        self._send(
            AnswerHead(code, (("Content-Type", JSON_TYPE), ("Content-Length", str(len(body))), *headers))
        )
        self._send(body)

    # What the query says ----------------------------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        if isinstance(message, Error):
            self._error = message.error
            return
        if not isinstance(message, Fire):
            return
        data = message.data
        if message.type == BODY_EVENT:
            body = data.get("body")
            if isinstance(body, bytes):
                self._begin()
                if body:
                    self._send(body)
        elif self._has_begun:
            # Too late: the head has left.
            return
        elif message.type == CODE_EVENT and isinstance(data.get("code"), int):
            self._code = data["code"]
        elif message.type == HEADERS_EVENT and isinstance(data.get("headers"), dict):
            self._headers.update({str(name): str(value) for name, value in data["headers"].items()})

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._send(AnswerHead(OK if self._code is None else self._code, tuple(self._headers.items())))
            self._code = self._code or OK


def _first(pairs: Pairs, *, lower: bool = False) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name.lower() if lower else name, value)
    return found
