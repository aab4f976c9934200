"""The settings that every cell has. A cell subclasses CellConfig and adds fields.

Units stand in the name (`_s`, `_bytes`, `_count`) or in the description. A field whose value must never
be shown carries `json_schema_extra=SECRET`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from cellmesh.common.addresses import split_host_port
from cellmesh.common.auth.certificates import parse_rules
from cellmesh.common.errors import BadArg
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

SECRET: Final[dict[str, Any]] = {"secret": True}
SECRET_SHOWN: Final = "********"
CONFIG_FILE_NAME: Final = "cell.toml"
ENVIRONMENT_PREFIX: Final = "CELLMESH"

MIB: Final = 1024**2
GIB: Final = 1024**3


def _check_address(text: str) -> str:
    if text:
        split_host_port(text)
    return text


def _check_certificate_rules(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        parse_rules(texts)
    except BadArg as error:
        raise ValueError(error.message) from None
    return texts


HostPort = Annotated[str, AfterValidator(_check_address)]


class CellConfig(BaseModel):
    """Settings of one cell. Frozen once made; `load_config` is the way to make one, and knows each value's origin."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True
    )

    kind: ClassVar[str] = "cell"

    dir: Path = Field(description="Folder that holds everything the cell keeps; made when missing.")
    listen: HostPort = Field(
        "127.0.0.1:0",
        description="TCP address to serve at, as host:port. Port 0 takes any free one. Used only when the cell "
        "has an identity or is insecure; empty serves on the unix socket DIR/cell.sock alone.",
    )
    advertise: str = Field(
        "",
        description="Address that others are told to use, as host:port or host. Empty means the one listened at.",
    )
    insecure: bool = Field(
        False, description="Serve TCP without TLS, every caller being root. For trials on one machine only."
    )
    login_listen: HostPort = Field(
        "",
        description="TCP address for callers without a certificate, who log in with a password or an API key, as "
        "host:port, with the cell's TLS. Empty serves none.",
    )
    auth_anonymous: str = Field(
        "",
        description="Name of the user that callers without certificate and credentials count as. It may not be an "
        "administrator. Empty refuses them.",
    )
    auth_certificates: Annotated[tuple[str, ...], AfterValidator(_check_certificate_rules)] = Field(
        (),
        description="Which user of the cell a user's certificate is for, as rules of which the first that matches "
        "decides: alice@demo=al, robot-*@demo=robot, *@demo=* for the user of the same name, *@*=- for nobody. Where "
        "none matches it is the user of the same name.",
    )
    user_count_max: int = Field(
        0,
        ge=0,
        description="Most users the cell has beside root and those archived, as a count. 0 sets no limit.",
    )
    password_length_min: int = Field(
        12, ge=1, le=256, description="Least length of a new password, in characters."
    )
    password_classes_min: int = Field(
        1,
        ge=1,
        le=4,
        description="Least number of kinds of characters in a new password, out of lower case, upper case, digits "
        "and others.",
    )
    password_history_count: int = Field(
        3,
        ge=0,
        le=32,
        description="How many passwords, the present one included, may not come again, as a count.",
    )
    password_attempts_max: int = Field(
        10,
        ge=0,
        le=1000,
        description="Wrong passwords in a row after which a user is locked, as a count. 0 locks nobody.",
    )
    password_hash_memory_kib: int = Field(
        19 * 1024,
        ge=64,
        le=4 * 1024 * 1024,
        description="Memory that Argon2id takes for a password, in KiB. Passwords hashed at another cost are hashed anew "
        "at the next login.",
    )
    password_hash_iterations: int = Field(
        2, ge=1, le=100, description="Passes of Argon2id over its memory, as a count."
    )
    password_hash_lanes: int = Field(
        1, ge=1, le=8, description="Lanes of Argon2id, into which its memory is parted, as a count."
    )
    audit_count_max: int = Field(
        1_000_000,
        ge=0,
        description="Most records that the audit log keeps, as a count; the oldest are cut, about once an hour. 0 sets "
        "no limit.",
    )
    audit_keep_days: float = Field(
        0.0,
        ge=0,
        description="For how long the audit log keeps a record, in days. 0 sets no limit.",
    )
    enroll: str = Field(
        "",
        description="One-time enrolment URL from AHA, used when the cell has no identity yet.",
        json_schema_extra=SECRET,
    )
    lease_s: float = Field(
        15.0,
        ge=1.0,
        le=300.0,
        description="For how long a registration with AHA holds unless renewed, in seconds.",
    )
    leader_lease_s: float = Field(
        3.0,
        ge=0.5,
        le=60.0,
        description="For how long a leader with followers may take writes unless AHA or all followers renew its "
        "lease, in seconds. A promotion by force waits so long.",
    )
    synchronous_followers: int = Field(
        0,
        ge=0,
        le=16,
        description="How many followers must have a change on disk before it is acknowledged, of those there are, "
        "as a count.",
    )
    synchronous_timeout_s: float = Field(
        10.0,
        ge=0.1,
        le=600.0,
        description="How long a write waits for synchronous followers, in seconds.",
    )
    hand_over_timeout_s: float = Field(
        5.0,
        ge=0.0,
        le=600.0,
        description="How long a leader that is told to stop looks first for a follower that is in step, and waits for it "
        "to have everything, so that it leads, in seconds. 0 stops without that: the followers wait for its return.",
    )
    stop_grace_s: float = Field(
        10.0,
        ge=0.0,
        le=600.0,
        description="How long running calls may go on when the cell stops, in seconds.",
    )
    call_threads: int = Field(
        8, ge=1, le=256, description="Most threads that do the blocking work of single calls, as a count."
    )
    stream_threads: int = Field(
        64,
        ge=1,
        le=1024,
        description="Most streams that are produced at the same time, as a count of threads.",
    )
    map_size_bytes: int = Field(
        64 * GIB,
        ge=1024**2,
        description="Address space reserved for the database at first, in bytes. It grows by itself; no disk is "
        "taken before it is used.",
    )
    space_min_bytes: int = Field(
        64 * MIB,
        ge=0,
        description="Free space on the disk below which the cell takes no writes, in "
        "bytes. Reads go on, and writes again by themselves when there is room.",
    )
    compact_on_start: bool = Field(
        False,
        description="Rewrite the database without its free pages before serving. Takes about a second a gigabyte, "
        "and room on the disk for a second copy; skipped with a warning when there is none.",
    )
    log_keep_count: int = Field(
        100_000,
        ge=0,
        description="So many of the newest change records are always kept. Those that followers, running backups and "
        "other holders need are kept as well.",
    )
    log_keep_hours: float = Field(
        168.0,
        ge=0,
        description="Change records younger than so many hours are kept, as far as log_share_max allows.",
    )
    log_share_max: int = Field(
        50,
        ge=1,
        le=100,
        description="Most of the storage that the change log takes, in per cent, before its oldest records go even if "
        "they are younger than log_keep_hours. 100 sets no bound.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity that is logged."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="How log lines look: auto is text on a terminal and JSON elsewhere."
    )
    otlp_endpoint: str = Field(
        "",
        description="OpenTelemetry collector (OTLP over gRPC) that gets traces and metrics, such as "
        "http://127.0.0.1:4317. Empty sends nothing.",
    )
    metrics_listen: HostPort = Field(
        "",
        description="TCP address, as host:port, of plain HTTP for monitors: /metrics in the format of Prometheus, "
        "/healthz and /readyz. Whoever connects is answered. Empty serves none.",
    )
    first_start: Path | None = Field(
        None,
        description="TOML file with users, roles and key-values that a cell has from its first start; not looked at "
        "later. Left out, DIR/first-start.toml if it is there.",
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    def origin(self, name: str) -> str:
        """Where a setting's value came from: "default", "file PATH", "environment NAME" or "flag --name"."""
        if name not in type(self).model_fields:
            raise KeyError(name)
        return self._origins.get(name, "default")

    def shown(self) -> dict[str, str]:
        """Every setting as text, secrets masked: what may be logged."""
        cls = type(self)
        return {
            name: SECRET_SHOWN if is_secret(cls, name) and getattr(self, name) else str(getattr(self, name))
            for name in cls.model_fields
        }


def is_secret(config_class: type[CellConfig], name: str) -> bool:
    """Whether the value of a setting must never be shown."""
    extra = config_class.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def is_list(config_class: type[CellConfig], name: str) -> bool:
    """Whether a setting holds several values: a repeated flag, a comma list in the environment."""
    origin = getattr(config_class.model_fields[name].annotation, "__origin__", None)
    return origin in (list, tuple)


def environment_name(config_class: type[CellConfig], name: str) -> str:
    """The environment variable that sets a setting, such as CELLMESH_AXON_LISTEN."""
    return f"{ENVIRONMENT_PREFIX}_{config_class.kind}_{name}".upper()


def flag_name(name: str) -> str:
    """The command-line flag that sets a setting, such as --log-level."""
    return "--" + name.replace("_", "-")
