"""The names of resources.

Listeners and routes are called like a service or an instance, with or without the network: "cortex", "cortex.demo",
"00.cortex", "00.cortex.demo". Clusters and their endpoints have one name each: "cortex.demo/any", "cortex.demo/leader" and
"00.cortex.demo".

Each name can be asked for by itself, or within the authority of the network, as bootstraps of ours have it:
"xdstp://demo/envoy.config.listener.v3.Listener/cortex". What it refers to is named in the same way then.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final

from cellmesh.aha.directory.instances import parse_wanted
from cellmesh.common.errors import BadName

TYPE_URL: Final = "type.googleapis.com/"
AUTHORITY_SCHEME: Final = "xdstp://"


class Kind(enum.Enum):
    """A type of resource, by its type URL. In the order in which changes are sent: nothing names what is not there."""

    CLUSTER = TYPE_URL + "envoy.config.cluster.v3.Cluster"
    ENDPOINTS = TYPE_URL + "envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = TYPE_URL + "envoy.config.listener.v3.Listener"
    ROUTES = TYPE_URL + "envoy.config.route.v3.RouteConfiguration"

    @property
    def whole(self) -> bool:
        """Whether each answer has everything that is asked for; what is missing from it is gone."""
        return self in (Kind.CLUSTER, Kind.LISTENER)


class Pick(enum.Enum):
    """Which instances of a service a cluster has."""

    ANY = "any"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Target:
    """What a name means.

    Attributes:
        service: The service.
        network: Its network.
        number: The instance; empty for all of them.
        pick: For clusters of a service, which of its instances.
        authority: The authority within which it was asked for; empty for none.
    """

    service: str
    network: str
    number: str = ""
    pick: Pick | None = None
    authority: str = ""

    def named(self, kind: Kind) -> str:
        """What a resource about it is called, for those who refer to it."""
        return within(self.authority, kind, self.cluster) if self.authority else self.cluster

    @property
    def cluster(self) -> str:
        """The name of the cluster, or of the instance's."""
        owner = f"{self.service}.{self.network}"
        if self.number:
            return f"{self.number}.{owner}"
        return f"{owner}/{self.pick.value}" if self.pick else owner


def within(authority: str, kind: Kind, name: str) -> str:
    """The name of a resource within an authority."""
    return f"{AUTHORITY_SCHEME}{authority}/{kind.value.removeprefix(TYPE_URL)}/{name}"


def parse(kind: Kind, name: str, network: str) -> Target | None:
    """Find out what a client asks for.

    Args:
        kind: The type of resource.
        name: Its name.
        network: The network meant when the name has none.

    Returns:
        What it means, or None when nothing can have this name.
    """
    authority = ""
    if name.startswith(AUTHORITY_SCHEME):
        begin = within(network, kind, "")
        if not name.startswith(begin):
            return None
        authority, name = network, name.removeprefix(begin)
    text, slash, pick = name.partition("/")
    try:
        wanted = parse_wanted(text, network)
    except BadName:
        return None
    if wanted.network != network:
        return None
    found = Target(wanted.service, wanted.network, wanted.number, authority=authority)
    if kind in (Kind.LISTENER, Kind.ROUTES):
        return None if slash else found
    if found.number:
        return found if name == found.cluster else None
    try:
        found = replace(found, pick=Pick(pick))
    except ValueError:
        return None
    return found if name == found.cluster else None


def names_of(kind: Kind, service: str, network: str, numbers: list[str]) -> list[str]:
    """The names that who asks for everything gets, of one service."""
    owner = f"{service}.{network}"
    each = [f"{number}.{owner}" for number in numbers]
    if kind in (Kind.LISTENER, Kind.ROUTES):
        return [owner, *each]
    return [*(f"{owner}/{pick.value}" for pick in Pick), *each]
