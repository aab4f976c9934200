"""The leader as a follower calls it: where content is fetched that records only name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellmesh.common.rpc.channel import open_channel

if TYPE_CHECKING:
    import grpc
    from cellmesh.common.tls.folder import IdentityFolder


class LeaderSource:
    """A ContentSource: the instance that is followed.

    Args:
        name: Its name in the mesh, which its certificate must carry.
        address: Where it serves, as host:port.
        identity: The follower's own.
    """

    def __init__(self, name: str, address: str, identity: IdentityFolder) -> None:
        self.name = name
        self.address = address
        self._identity = identity
        self._channel: grpc.Channel | None = None

    @property
    def url(self) -> str:
        """Where it is, for messages."""
        return f"grpcs://{self.address}"

    @property
    def channel(self) -> grpc.Channel:
        """A blocking channel to it, with the follower's certificate. Closed with the source."""
        if self._channel is None:
            self._channel = open_channel(self.address, identity=self._identity, server_name=self.name)
        return self._channel

    def close(self) -> None:
        """Close the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
