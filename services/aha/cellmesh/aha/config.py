"""AHA's settings, beside those of every cell."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, ClassVar

from cellmesh.aha.provisioning.tokens import AccountRule, TokenSettings
from cellmesh.common.addresses import split_host_port
from cellmesh.common.config import CellConfig
from cellmesh.common.config.spec import HostPort
from cellmesh.common.errors import BadArg, BadName
from cellmesh.common.tls.identity import check_label
from pydantic import AfterValidator, Field


def _check_network(text: str) -> str:
    try:
        check_label(text, "network")
    except BadName as error:
        raise ValueError(error.message) from None
    return text


def _check_accounts(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        for text in texts:
            AccountRule.parse(text)
    except BadArg as error:
        raise ValueError(error.message) from None
    return texts


def _check_hosts(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if not text.isascii() or not text.replace("-", "").replace(".", "").replace(":", "").isalnum():
            raise ValueError(f"{text!r} is no host name or IP address")
    return texts


class AhaConfig(CellConfig):
    """Settings of AHA."""

    kind: ClassVar[str] = "aha"

    network: Annotated[str, AfterValidator(_check_network)] = Field(
        "mesh",
        description="Name of the network: the end of every name in the mesh. Fixed once AHA has started.",
    )
    enroll_listen: HostPort = Field(
        "127.0.0.1:0",
        description="TCP address of the enrolment port, as host:port. Port 0 takes any free one; enrolment URLs "
        "then end with the process.",
    )
    hosts: Annotated[tuple[str, ...], AfterValidator(_check_hosts)] = Field(
        (),
        description="Host names and IP addresses at which the instances of AHA are reached, without ports. AHA's "
        "certificates hold for them, and for what is advertised: clients of the control plane (xDS) check that.",
    )
    certificate_lifetime_days: int = Field(
        90, ge=1, le=3650, description="For how long certificates of cells and users are valid, in days."
    )
    authority_lifetime_days: int = Field(
        3650, ge=1, le=36500, description="For how long the authority's own certificate is valid, in days."
    )
    token_keys: str = Field(
        "",
        description="Keys that service-account tokens are checked with, as a JWKS file or its http(s) URL, such as "
        "https://kubernetes.default.svc/openid/v1/jwks. Empty takes no tokens.",
    )
    token_keys_authority: Path | None = Field(
        None,
        description="File with the certificates that the server of token_keys is checked against. Left out, those of "
        "the system.",
    )
    token_keys_token: Path | None = Field(
        None, description="File with the token that is shown to the server of token_keys. Left out, none."
    )
    token_issuer: str = Field(
        "https://kubernetes.default.svc.cluster.local",
        description="What a service-account token must say issued it.",
    )
    token_audience: str = Field("cellmesh", description="For whom a service-account token must be.")
    token_accounts: Annotated[tuple[str, ...], AfterValidator(_check_accounts)] = Field(
        (),
        description="Which cells a service account may be, as NAMESPACE/ACCOUNT=NUMBER.SERVICE: mesh/cortex=*.cortex "
        "allows any number. * stands for any characters.",
    )
    restart_grace_s: float = Field(
        30.0,
        ge=0.0,
        le=600.0,
        description="How long AHA holds registrations from before its restart until they must be renewed, in seconds.",
    )

    def token_settings(self) -> TokenSettings | None:
        """What service-account tokens are taken; None when none are."""
        if not self.token_keys:
            return None
        return TokenSettings(
            self.token_keys,
            self.token_issuer,
            self.token_audience,
            tuple(AccountRule.parse(text) for text in self.token_accounts),
            self.token_keys_authority,
            self.token_keys_token,
        )

    def certificate_hosts(self) -> frozenset[str]:
        """The hosts that AHA's certificates hold for: those told, and the one advertised."""
        from cellmesh.common.cell.listeners import advertised

        found = set(self.hosts)
        address = advertised(self.listen, self.advertise)
        if address:
            found.add(split_host_port(address)[0])
        return frozenset(_normal(host) for host in found if host.isascii())


def _normal(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host
