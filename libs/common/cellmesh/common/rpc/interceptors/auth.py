"""Who calls, and whether the method's permission row lets them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, ClassVar, Protocol

import grpc
from cellmesh.common.auth.behalf import ON_BEHALF_KEY
from cellmesh.common.auth.context import LOCAL_ROOT, Call, Caller, CallerKind, current_call
from cellmesh.common.errors import AuthDeny, CellError
from cellmesh.common.rpc.interceptors.peers import PeerCertificates
from cellmesh.common.rpc.offsets import MIN_OFFSET_KEY
from cellmesh.common.rpc.permissions import Level, check_permission
from cellmesh.common.rpc.service import Method, SingleHandler, StreamHandler
from cellmesh.common.tls.identity import CellIdentity
from cellmesh.common.tls.revocation import RevocationList

AUTHORIZATION_KEY = "authorization"

CallerOf = Callable[["grpc.aio.ServicerContext[Any, Any]"], Caller]


class Accounts(Protocol):
    """The users of a cell, as far as a server needs them: `cellmesh.common.auth.logins` has them."""

    def user_of(self, caller: Caller) -> Caller:
        """The caller with the user of the cell that its certificate makes it."""
        ...

    async def login(self, header: str | bytes, peer: str) -> Caller:
        """Who the authorization header says. Raises Unauthenticated, AuthDeny."""
        ...

    def named(self, name: str) -> Caller:
        """Who is meant by the name that a follower gives of its caller; see `auth.behalf`. Raises Unauthenticated."""
        ...

    def check_rules(
        self, caller: Caller, path: tuple[str, ...], method: str, *, needed: bool = False
    ) -> None:
        """Refuse who is refused by a rule, or known and no user here; if one is `needed`, also users whom no rule
        allows it. Raises AuthDeny.
        """
        ...

    def note_denial(self, call: Call, error: CellError) -> None:
        """Note that a call was refused."""
        ...


class AuthInterceptor:
    """Sets `Call.caller` and refuses what the permission row refuses.

    Args:
        caller_of: Who the connection says that calls.
        accounts: The users of the cell; None on a server without any, which then takes no credentials.
    """

    name: ClassVar[str] = "auth"
    inside: ClassVar[frozenset[str]] = frozenset({"request_id", "telemetry", "errors", "deadline"})
    required: ClassVar[bool] = True

    def __init__(self, caller_of: CallerOf, accounts: Accounts | None = None) -> None:
        self._caller_of = caller_of
        self._accounts = accounts

    def wrap_single(self, method: Method, inner: SingleHandler) -> SingleHandler:
        """Check, then answer."""
        accounts = self._accounts
        if accounts is None:

            async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
                self._check(method, context)
                return await inner(request, context)

            return handle
        admit, decide = self._admission(method, accounts), self._decision(method, accounts)

        async def handle_user(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            call = current_call()
            try:
                header = admit(call, context)
                if header is not None:
                    call.caller = await accounts.login(header, call.peer)
                    decide(call.caller)
                return await inner(request, context)
            except AuthDeny as error:
                accounts.note_denial(call, error)
                raise

        return handle_user

    def wrap_stream(self, method: Method, inner: StreamHandler) -> StreamHandler:
        """Check, then stream."""
        accounts = self._accounts
        if accounts is None:

            async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
                self._check(method, context)
                async with aclosing(inner(request, context)) as stream:  # type: ignore[type-var]
                    async for message in stream:
                        yield message

            return handle
        admit, decide = self._admission(method, accounts), self._decision(method, accounts)

        async def handle_user(
            request: Any, context: grpc.aio.ServicerContext[Any, Any]
        ) -> AsyncIterator[Any]:
            call = current_call()
            try:
                header = admit(call, context)
                if header is not None:
                    call.caller = await accounts.login(header, call.peer)
                    decide(call.caller)
                async with aclosing(inner(request, context)) as stream:  # type: ignore[type-var]
                    async for message in stream:
                        yield message
            except AuthDeny as error:
                accounts.note_denial(call, error)
                raise

        return handle_user

    def _check(self, method: Method, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        call = current_call()
        call.caller = self._caller_of(context)
        check_permission(method.permission, call.caller, method.path)
        is_user = call.caller.kind is CallerKind.USER and not call.caller.admin
        if is_user and method.permission.level is Level.RULE:
            raise AuthDeny(
                f"{call.caller.name} may not call {method.path}: this server has no users, and no rules that allow it",
                perm=method.permission.name,
                username=call.caller.name,
            )

    def _admission(
        self, method: Method, accounts: Accounts
    ) -> Callable[[Call, grpc.aio.ServicerContext[Any, Any]], str | bytes | None]:
        """What admits a call by its connection, or returns the authorization header that decides instead."""
        caller_of, user_of, decide = self._caller_of, accounts.user_of, self._decision(method, accounts)
        path = method.path

        def stand_for(call: Call, follower: Caller, name: str) -> Caller:
            if not follower.peer:
                raise AuthDeny(
                    f"{follower.name or 'a stranger'} may not call {path} on behalf of others: that is for instances of "
                    "the same service",
                    username=follower.name,
                )
            call.forwarded_by = follower.name
            call.peer = f"via {follower.name}"
            return accounts.named(name)

        def admit(call: Call, context: grpc.aio.ServicerContext[Any, Any]) -> str | bytes | None:
            call.peer = context.peer()
            header = behalf = None
            for key, value in context.invocation_metadata() or ():
                if key == AUTHORIZATION_KEY:
                    header = value
                elif key == MIN_OFFSET_KEY:
                    call.min_offset = str(value)
                elif key == ON_BEHALF_KEY:
                    behalf = str(value)
            if header is not None:
                return header
            call.caller = caller = caller_of(context)
            if behalf is not None:
                call.caller = caller = stand_for(call, caller, behalf)
                decide(caller)
                return None
            if caller is not LOCAL_ROOT:
                call.caller = caller = user_of(caller)
                decide(caller)
            return None

        return admit

    def _decision(self, method: Method, accounts: Accounts) -> Callable[[Caller], None]:
        """What refuses a caller who may not call the method."""
        permission, path = method.permission, method.path
        rule_path, needed = permission.path, permission.level is Level.RULE
        if permission.level is Level.ANYONE:
            return lambda caller: None

        def decide(caller: Caller) -> None:
            accounts.check_rules(caller, rule_path, path, needed=needed)
            check_permission(permission, caller, path)

        return decide


def caller_of_peer(
    *, insecure: bool, own: CellIdentity | None = None, revoked: RevocationList | None = None
) -> CallerOf:
    """Make the function that tells who calls a server.

    Args:
        insecure: Whether the server's TCP port is without TLS, which makes root of whoever connects.
        own: The name of the cell that serves, if it has one.
        revoked: The certificates that are not to be trusted any more.
    """
    certificates = PeerCertificates(own, revoked)

    def find(context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        if insecure or context.peer().startswith("unix:"):
            return LOCAL_ROOT
        return certificates.caller(context)

    return find
