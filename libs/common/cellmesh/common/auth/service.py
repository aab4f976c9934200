"""AuthService: the users of a cell, over gRPC. Reads answer from memory; changes run in worker threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cellmesh.api.common.v1 import auth_pb2
from cellmesh.api.common.v1 import auth_service_pb2 as pb
from cellmesh.common.auth import audit
from cellmesh.common.auth.context import current_caller
from cellmesh.common.auth.gates import Gate
from cellmesh.common.auth.held import AuthUser
from cellmesh.common.auth.passwords import ONE_TIME_LIFE_S_DEFAULT, Passwords
from cellmesh.common.auth.principals import Role, User
from cellmesh.common.auth.records import (
    ApiKey,
    gate_to_proto,
    rule_of_proto,
    rules_of_proto,
    rules_to_proto,
)
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.errors import AuthDeny, BadArg, NoSuchIden, NoSuchUser
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS, Level, PermissionTable
from cellmesh.common.rpc.service import Service
from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from cellmesh.common.rpc.workers import Workers

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 1000

ItemT = TypeVar("ItemT")

_LEVELS: Final = {
    Level.ANYONE: auth_pb2.PERMISSION_LEVEL_ANYONE,
    Level.MEMBER: auth_pb2.PERMISSION_LEVEL_MEMBER,
    Level.RULE: auth_pb2.PERMISSION_LEVEL_RULE,
    Level.PEER: auth_pb2.PERMISSION_LEVEL_PEER,
    Level.ADMIN: auth_pb2.PERMISSION_LEVEL_ADMIN,
}


class AuthServicer:
    """Answers for one cell.

    Args:
        store: Its users.
        passwords: Their credentials.
        workers: Threads for what blocks.
        permissions: The rows of all methods that the cell serves, by method.
    """

    def __init__(
        self,
        store: AuthStore,
        passwords: Passwords,
        workers: Workers,
        permissions: Callable[[], PermissionTable],
    ) -> None:
        self._permissions = permissions
        self._store = store
        self._passwords = passwords
        self._run = workers.run

    # Users.

    async def GetCurrentUser(
        self, request: pb.GetCurrentUserRequest, context: Any
    ) -> pb.GetCurrentUserResponse:
        """Who the caller is."""
        return pb.GetCurrentUserResponse(user=self._user(self._self().record))

    async def CreateUser(self, request: pb.CreateUserRequest, context: Any) -> pb.CreateUserResponse:
        """Make a user."""
        user = await self._run(self._store.add_user, request.name, request.email, admin=request.admin)
        return pb.CreateUserResponse(user=self._user(user))

    async def GetUser(self, request: pb.GetUserRequest, context: Any) -> pb.GetUserResponse:
        """One user."""
        return pb.GetUserResponse(user=self._user(self._reach(request.user)))

    async def ListUsers(self, request: pb.ListUsersRequest, context: Any) -> pb.ListUsersResponse:
        """Users by name."""
        users = [
            user
            for user in self._store.policy.users.values()
            if request.include_archived or not user.archived
        ]
        page, token = _page(users, lambda user: user.name, request.page_size, request.page_token)
        return pb.ListUsersResponse(users=[self._user(user) for user in page], next_page_token=token)

    async def UpdateUser(self, request: pb.UpdateUserRequest, context: Any) -> pb.UpdateUserResponse:
        """Change what is set in the request."""
        user = await self._run(
            self._store.update_user,
            request.user,
            new_name=request.name if request.HasField("name") else None,
            email=request.email if request.HasField("email") else None,
            admin=request.admin if request.HasField("admin") else None,
            locked=request.locked if request.HasField("locked") else None,
            archived=request.archived if request.HasField("archived") else None,
        )
        return pb.UpdateUserResponse(user=self._user(user))

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: Any) -> pb.DeleteUserResponse:
        """Remove a user."""
        await self._run(self._store.delete_user, request.user)
        return pb.DeleteUserResponse()

    async def SetUserRoles(self, request: pb.SetUserRolesRequest, context: Any) -> pb.SetUserRolesResponse:
        """Set roles and their order."""
        user = await self._run(self._store.set_user_roles, request.user, list(request.roles))
        return pb.SetUserRolesResponse(user=self._user(user))

    async def GrantRole(self, request: pb.GrantRoleRequest, context: Any) -> pb.GrantRoleResponse:
        """Give a role."""
        user = await self._run(self._store.grant, request.user, request.role, _index(request))
        return pb.GrantRoleResponse(user=self._user(user))

    async def RevokeRole(self, request: pb.RevokeRoleRequest, context: Any) -> pb.RevokeRoleResponse:
        """Take a role."""
        user = await self._run(self._store.revoke, request.user, request.role)
        return pb.RevokeRoleResponse(user=self._user(user))

    # Roles.

    async def CreateRole(self, request: pb.CreateRoleRequest, context: Any) -> pb.CreateRoleResponse:
        """Make a role."""
        return pb.CreateRoleResponse(role=_role(await self._run(self._store.add_role, request.name)))

    async def GetRole(self, request: pb.GetRoleRequest, context: Any) -> pb.GetRoleResponse:
        """One role."""
        return pb.GetRoleResponse(role=_role(self._store.get_role(request.role)))

    async def ListRoles(self, request: pb.ListRolesRequest, context: Any) -> pb.ListRolesResponse:
        """Roles by name."""
        roles = self._store.policy.roles.values()
        page, token = _page(roles, lambda role: role.name, request.page_size, request.page_token)
        return pb.ListRolesResponse(roles=[_role(role) for role in page], next_page_token=token)

    async def UpdateRole(self, request: pb.UpdateRoleRequest, context: Any) -> pb.UpdateRoleResponse:
        """Give a role another name."""
        role = await self._run(self._store.rename_role, request.role, request.name)
        return pb.UpdateRoleResponse(role=_role(role))

    async def DeleteRole(self, request: pb.DeleteRoleRequest, context: Any) -> pb.DeleteRoleResponse:
        """Remove a role."""
        await self._run(self._store.delete_role, request.role)
        return pb.DeleteRoleResponse()

    # Rules and gates.

    async def AddRule(self, request: pb.AddRuleRequest, context: Any) -> pb.AddRuleResponse:
        """Add a rule."""
        rule, subject = rule_of_proto(request.rule), self._subject(request)
        rules = await self._run(self._store.add_rule, subject, rule, request.gate_id, _index(request))
        return pb.AddRuleResponse(rules=rules_to_proto(rules))

    async def RemoveRule(self, request: pb.RemoveRuleRequest, context: Any) -> pb.RemoveRuleResponse:
        """Take a rule away."""
        rule, subject = rule_of_proto(request.rule), self._subject(request)
        rules = await self._run(self._store.remove_rule, subject, rule, request.gate_id)
        return pb.RemoveRuleResponse(rules=rules_to_proto(rules))

    async def SetRules(self, request: pb.SetRulesRequest, context: Any) -> pb.SetRulesResponse:
        """Set all rules."""
        rules, subject = rules_of_proto(request.rules), self._subject(request)
        rules = await self._run(self._store.set_rules, subject, rules, request.gate_id)
        return pb.SetRulesResponse(rules=rules_to_proto(rules))

    async def SetGateAdmin(self, request: pb.SetGateAdminRequest, context: Any) -> pb.SetGateAdminResponse:
        """Say who is administrator of a gate."""
        gate = await self._run(self._store.set_gate_admin, request.user, request.gate_id, request.admin)
        return pb.SetGateAdminResponse(gate=_gate(gate))

    async def GetGate(self, request: pb.GetGateRequest, context: Any) -> pb.GetGateResponse:
        """One gate."""
        return pb.GetGateResponse(gate=_gate(self._store.get_gate(request.gate_id)))

    async def ListGates(self, request: pb.ListGatesRequest, context: Any) -> pb.ListGatesResponse:
        """Gates by identifier."""
        gates = self._store.policy.gates.values()
        page, token = _page(gates, lambda gate: gate.gate_id, request.page_size, request.page_token)
        return pb.ListGatesResponse(gates=[_gate(gate) for gate in page], next_page_token=token)

    # Credentials.

    async def SetPassword(self, request: pb.SetPasswordRequest, context: Any) -> pb.SetPasswordResponse:
        """Set a password."""
        caller, user = current_caller(), self._reach(request.user)
        if not caller.admin:
            if not request.password:
                raise AuthDeny(f"{caller.name} may not remove its password", username=caller.name)
            has_one = bool(self._store.get_credentials(user.user_id).password_hash)
            if has_one and not caller.one_time:
                await self._run(self._passwords.check_current, user, request.current_password)
        await self._run(self._passwords.set_password, user.user_id, request.password)
        return pb.SetPasswordResponse()

    async def CreateOneTimePassword(
        self, request: pb.CreateOneTimePasswordRequest, context: Any
    ) -> pb.CreateOneTimePasswordResponse:
        """Make a password for one call."""
        life_s = ONE_TIME_LIFE_S_DEFAULT
        if request.HasField("life_time"):
            life_s = request.life_time.ToNanoseconds() / 1e9
        password, expire_time_us = await self._run(self._passwords.make_one_time, request.user, life_s)
        return pb.CreateOneTimePasswordResponse(password=password, expire_time=_time(expire_time_us))

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Any) -> pb.CreateApiKeyResponse:
        """Make an API key."""
        user = self._reach(request.user)
        life_s = request.life_time.ToNanoseconds() / 1e9 if request.HasField("life_time") else None
        key, text = await self._run(self._passwords.make_key, user.user_id, request.name, life_s)
        return pb.CreateApiKeyResponse(api_key=_api_key(key), text=text)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Any) -> pb.ListApiKeysResponse:
        """The keys of a user."""
        user = self._reach(request.user)
        keys = [key for key in self._store.policy.api_keys.values() if key.user_id == user.user_id]
        keys.sort(key=lambda key: (key.create_time_us, key.key_id))
        return pb.ListApiKeysResponse(api_keys=[_api_key(key) for key in keys])

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Any) -> pb.RevokeApiKeyResponse:
        """End a key."""
        if not current_caller().admin:
            key = self._store.policy.api_keys.get(request.key_id)
            # Whether somebody else has such a key is not told.
            if key is None or key.user_id != self._self().user_id:
                raise NoSuchIden("you have no such API key", iden=request.key_id[:64])
        await self._run(self._store.delete_api_key, request.key_id)
        return pb.RevokeApiKeyResponse()

    # Questions.

    async def CheckAccess(self, request: pb.CheckAccessRequest, context: Any) -> pb.CheckAccessResponse:
        """Whether somebody may do something."""
        policy, path = self._store.policy, tuple(request.path)
        if request.role:
            if request.user:
                raise BadArg("ask about a user or about a role", name="role")
            caller = current_caller()
            if not caller.admin:
                raise AuthDeny(f"{caller.name} reaches itself only", username=caller.name)
            decision = policy.decide_role(self._store.get_role(request.role).role_id, path, request.gate_id)
        else:
            decision = policy.decide(self._reach(request.user).user_id, path, request.gate_id)
        allowed = request.default_allow if decision.allowed is None else decision.allowed
        return pb.CheckAccessResponse(allowed=allowed, reason=decision.reason)

    async def ListPermissions(
        self, request: pb.ListPermissionsRequest, context: Any
    ) -> pb.ListPermissionsResponse:
        """What each method needs."""
        return pb.ListPermissionsResponse(
            permissions=[
                auth_pb2.MethodPermission(method=method, level=_LEVELS[row.level], path=row.path)
                for method, row in sorted(self._permissions().items())
            ]
        )

    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Any
    ) -> pb.ListAuditRecordsResponse:
        """The audit log."""
        size = _page_size(request.page_size)
        if request.offset >= 1 << 56:
            return pb.ListAuditRecordsResponse(next_offset=request.offset)
        records, next_offset = await self._run(audit.read, self._store.slab, request.offset, size)
        return pb.ListAuditRecordsResponse(records=records, next_offset=next_offset)

    async def CheckAuditLog(self, request: pb.CheckAuditLogRequest, context: Any) -> pb.CheckAuditLogResponse:
        """Check the audit log."""
        known = (request.known_offset, request.known_hash) if request.HasField("known_offset") else None
        if known is None and request.known_hash:
            raise BadArg("a known hash needs its offset", name="known_offset")
        report = await self._run(audit.check, self._store.slab, known)
        return pb.CheckAuditLogResponse(
            sound=report.sound,
            record_count=report.record_count,
            first_offset=report.first_offset,
            head_hash=report.head_hash,
            bad_offset=report.bad_offset or 0,
            problem=report.problem,
        )

    # Who may reach whom.

    def _self(self) -> AuthUser:
        """The user that the caller is. Raises NoSuchUser."""
        found = self._store.find_user_of(current_caller())
        if found is None:
            raise NoSuchUser(
                "the caller is no user of this cell, so it has to name one", username=current_caller().name
            )
        return found

    def _reach(self, name: str) -> User:
        """The user named, empty for the caller, if the caller may see and change it.

        Raises:
            NoSuchUser: there is none.
            AuthDeny: it is somebody else and the caller is no administrator. Whether there is such a user, is not told.
        """
        if not name:
            return self._self().record
        caller = current_caller()
        if caller.admin:
            return self._store.get_user(name)
        user = self._store.policy.find_user(name)
        if user is None or not caller.user_id or user.user_id != caller.user_id:
            raise AuthDeny(f"{caller.name} reaches itself only", username=caller.name)
        return user

    def _subject(self, request: pb.AddRuleRequest | pb.RemoveRuleRequest | pb.SetRulesRequest) -> User | Role:
        match request.WhichOneof("subject"):
            case "user":
                return self._store.get_user(request.user)
            case "role":
                return self._store.get_role(request.role)
            case _:
                raise BadArg("rules are those of a user or of a role: name one", name="subject")

    def _user(self, user: User) -> auth_pb2.User:
        found = self._store.get_credentials(user.user_id)
        message = auth_pb2.User(
            user_id=user.user_id,
            name=user.name,
            email=user.email,
            admin=user.admin,
            locked=user.locked,
            archived=user.archived,
            role_ids=user.role_ids,
            rules=rules_to_proto(user.rules),
            has_password=bool(found.password_hash),
            failed_attempt_count=found.failed_attempt_count,
        )
        if user.create_time_us:
            message.create_time.FromMicroseconds(user.create_time_us)
        return message


def auth_service(
    store: AuthStore,
    passwords: Passwords,
    workers: Workers,
    permissions: Callable[[], PermissionTable] = lambda: COMMON_PERMISSIONS,
) -> Service:
    """The AuthService of a cell; see AuthServicer."""
    descriptor = pb.DESCRIPTOR.services_by_name["AuthService"]
    return Service(descriptor, AuthServicer(store, passwords, workers, permissions), COMMON_PERMISSIONS)


def _role(role: Role) -> auth_pb2.Role:
    message = auth_pb2.Role(role_id=role.role_id, name=role.name, rules=rules_to_proto(role.rules))
    if role.create_time_us:
        message.create_time.FromMicroseconds(role.create_time_us)
    return message


def _gate(gate: Gate) -> auth_pb2.Gate:
    stored = gate_to_proto(gate)
    return auth_pb2.Gate(gate_id=stored.gate_id, kind=stored.kind, users=stored.users, roles=stored.roles)


def _api_key(key: ApiKey) -> auth_pb2.ApiKey:
    message = auth_pb2.ApiKey(
        key_id=key.key_id, user_id=key.user_id, name=key.name, create_time=_time(key.create_time_us)
    )
    if key.expire_time_us:
        message.expire_time.FromMicroseconds(key.expire_time_us)
    return message


def _time(time_us: int) -> Timestamp:
    time = Timestamp()
    time.FromMicroseconds(time_us)
    return time


def _index(request: pb.AddRuleRequest | pb.GrantRoleRequest) -> int | None:
    return request.index if request.HasField("index") else None


def _page_size(size: int) -> int:
    return min(size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def _page(
    items: Iterable[ItemT], name_of: Callable[[ItemT], str], size: int, token: str
) -> tuple[Sequence[ItemT], str]:
    """The next items by name, and the token of the page after, which is the last name in hexadecimal."""
    try:
        after = bytes.fromhex(token).decode()
    except ValueError:
        raise BadArg("the page token is not ours", name="page_token") from None
    found = sorted((item for item in items if name_of(item) > after), key=name_of)
    page = found[: _page_size(size)]
    return page, name_of(page[-1]).encode().hex() if len(page) < len(found) else ""
