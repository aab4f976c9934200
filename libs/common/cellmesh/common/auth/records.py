"""Auth as it is stored and as it travels: messages to values and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from cellmesh.api.common.v1 import auth_change_pb2, auth_pb2
from cellmesh.common.auth.gates import Gate, GateUser
from cellmesh.common.auth.principals import Role, User
from cellmesh.common.auth.rules import Rule
from cellmesh.common.errors import StorageCorrupt
from google.protobuf.message import DecodeError, Message

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a user proves who it is. All secrets are hashes; times are in microseconds since 1970.

    Attributes:
        user_id: Whose they are.
        password_hash: Argon2id in PHC form; empty for none.
        old_password_hashes: Those before, the newest first.
        failed_attempt_count: Wrong passwords since the last right one.
        failed_time_us: When the last of them was tried.
        one_time_sha256: Of the one-time password; empty for none.
        one_time_expire_time_us: Until when that is good.
    """

    user_id: str
    password_hash: str = ""
    old_password_hashes: tuple[str, ...] = ()
    failed_attempt_count: int = 0
    failed_time_us: int = 0
    one_time_sha256: bytes = b""
    one_time_expire_time_us: int = 0


API_KEY_NAME_SIZE_MAX: Final = 128


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A user's credential for programs. Times are in microseconds since 1970.

    Attributes:
        key_id: 32 hexadecimal digits, the public part.
        user_id: Whose it is.
        name: For people.
        secret_sha256: Of the secret part.
        create_time_us: When it was made.
        expire_time_us: Until when it is good; 0 when it does not end.
    """

    key_id: str
    user_id: str
    name: str
    secret_sha256: bytes
    create_time_us: int
    expire_time_us: int = 0

    def expired(self, now_us: int) -> bool:
        """Whether its time is over."""
        return 0 < self.expire_time_us <= now_us


Stored = User | Role | Gate | Credentials | ApiKey


def put_change(value: Stored) -> auth_change_pb2.AuthChange:
    """The change that makes or replaces this."""
    match value:
        case User():
            return auth_change_pb2.AuthChange(user_put=user_to_proto(value))
        case Role():
            return auth_change_pb2.AuthChange(role_put=role_to_proto(value))
        case Gate():
            return auth_change_pb2.AuthChange(gate_put=gate_to_proto(value))
        case Credentials():
            return auth_change_pb2.AuthChange(credentials_put=credentials_to_proto(value))
        case ApiKey():
            return auth_change_pb2.AuthChange(api_key_put=api_key_to_proto(value))


def read_change(change: auth_change_pb2.AuthChange) -> Stored | tuple[str, str]:
    """What a change puts, or the kind of deletion and the identifier of what it deletes."""
    match change.WhichOneof("change"):
        case "user_put":
            return user_of_proto(change.user_put)
        case "role_put":
            return role_of_proto(change.role_put)
        case "gate_put":
            return gate_of_proto(change.gate_put)
        case "credentials_put":
            return credentials_of_proto(change.credentials_put)
        case "api_key_put":
            return api_key_of_proto(change.api_key_put)
        case None:
            return "unknown", ""
        case kind:
            return kind, getattr(change, kind)


def to_bytes(value: Stored) -> bytes:
    """A value as it is stored; the same value gives the same bytes."""
    change = put_change(value)
    message = getattr(change, str(change.WhichOneof("change")))
    stored: bytes = message.SerializeToString(deterministic=True)
    return stored


def user_of_bytes(data: bytes) -> User:
    """Raises StorageCorrupt."""
    return user_of_proto(_parse(auth_change_pb2.StoredUser, data))


def role_of_bytes(data: bytes) -> Role:
    """Raises StorageCorrupt."""
    return role_of_proto(_parse(auth_change_pb2.StoredRole, data))


def gate_of_bytes(data: bytes) -> Gate:
    """Raises StorageCorrupt."""
    return gate_of_proto(_parse(auth_change_pb2.StoredGate, data))


def credentials_of_bytes(data: bytes) -> Credentials:
    """Raises StorageCorrupt."""
    return credentials_of_proto(_parse(auth_change_pb2.StoredCredentials, data))


def api_key_of_bytes(data: bytes) -> ApiKey:
    """Raises StorageCorrupt."""
    return api_key_of_proto(_parse(auth_change_pb2.StoredApiKey, data))


def rule_to_proto(rule: Rule) -> auth_pb2.Rule:
    """A rule as it travels."""
    return auth_pb2.Rule(allow=rule.allow, path=rule.path)


def rule_of_proto(message: auth_pb2.Rule) -> Rule:
    """Raises BadArg when the path cannot be one."""
    return Rule(message.allow, tuple(message.path))


def rules_to_proto(rules: Iterable[Rule]) -> list[auth_pb2.Rule]:
    """Rules as they travel."""
    return [rule_to_proto(rule) for rule in rules]


def rules_of_proto(messages: Iterable[auth_pb2.Rule]) -> tuple[Rule, ...]:
    """Raises BadArg when a path cannot be one."""
    return tuple(rule_of_proto(message) for message in messages)


def user_to_proto(user: User) -> auth_change_pb2.StoredUser:
    """A user as stored."""
    return auth_change_pb2.StoredUser(
        user_id=user.user_id,
        name=user.name,
        email=user.email,
        admin=user.admin,
        locked=user.locked,
        archived=user.archived,
        role_ids=user.role_ids,
        rules=rules_to_proto(user.rules),
        create_time_us=user.create_time_us,
    )


def user_of_proto(message: auth_change_pb2.StoredUser) -> User:
    """A user from what is stored."""
    return User(
        message.user_id,
        message.name,
        message.email,
        message.admin,
        message.locked,
        message.archived,
        tuple(message.role_ids),
        rules_of_proto(message.rules),
        message.create_time_us,
    )


def role_to_proto(role: Role) -> auth_change_pb2.StoredRole:
    """A role as stored."""
    return auth_change_pb2.StoredRole(
        role_id=role.role_id,
        name=role.name,
        rules=rules_to_proto(role.rules),
        create_time_us=role.create_time_us,
    )


def role_of_proto(message: auth_change_pb2.StoredRole) -> Role:
    """A role from what is stored."""
    return Role(message.role_id, message.name, rules_of_proto(message.rules), message.create_time_us)


def gate_to_proto(gate: Gate) -> auth_change_pb2.StoredGate:
    """A gate as stored, in the order of identifiers."""
    return auth_change_pb2.StoredGate(
        gate_id=gate.gate_id,
        kind=gate.kind,
        users=[
            auth_pb2.GateUser(user_id=user_id, admin=found.admin, rules=rules_to_proto(found.rules))
            for user_id, found in sorted(gate.users.items())
        ],
        roles=[
            auth_pb2.GateRole(role_id=role_id, rules=rules_to_proto(rules))
            for role_id, rules in sorted(gate.roles.items())
        ],
    )


def gate_of_proto(message: auth_change_pb2.StoredGate) -> Gate:
    """A gate from what is stored."""
    return Gate(
        message.gate_id,
        message.kind,
        {user.user_id: GateUser(user.admin, rules_of_proto(user.rules)) for user in message.users},
        {role.role_id: rules_of_proto(role.rules) for role in message.roles},
    )


def credentials_to_proto(found: Credentials) -> auth_change_pb2.StoredCredentials:
    """Credentials as stored."""
    return auth_change_pb2.StoredCredentials(
        user_id=found.user_id,
        password_hash=found.password_hash,
        old_password_hashes=found.old_password_hashes,
        failed_attempt_count=found.failed_attempt_count,
        failed_time_us=found.failed_time_us,
        one_time_sha256=found.one_time_sha256,
        one_time_expire_time_us=found.one_time_expire_time_us,
    )


def credentials_of_proto(message: auth_change_pb2.StoredCredentials) -> Credentials:
    """Credentials from what is stored."""
    return Credentials(
        message.user_id,
        message.password_hash,
        tuple(message.old_password_hashes),
        message.failed_attempt_count,
        message.failed_time_us,
        message.one_time_sha256,
        message.one_time_expire_time_us,
    )


def api_key_to_proto(key: ApiKey) -> auth_change_pb2.StoredApiKey:
    """A key as stored."""
    return auth_change_pb2.StoredApiKey(
        key_id=key.key_id,
        user_id=key.user_id,
        name=key.name,
        secret_sha256=key.secret_sha256,
        create_time_us=key.create_time_us,
        expire_time_us=key.expire_time_us,
    )


def api_key_of_proto(message: auth_change_pb2.StoredApiKey) -> ApiKey:
    """A key from what is stored."""
    return ApiKey(
        message.key_id,
        message.user_id,
        message.name,
        message.secret_sha256,
        message.create_time_us,
        message.expire_time_us,
    )


def _parse(kind: type[MessageT], data: bytes) -> MessageT:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise StorageCorrupt(f"a {kind.__name__} does not read back") from error
