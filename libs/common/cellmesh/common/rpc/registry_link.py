"""The channel of a cell to the registry of its network, which may have several addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc.aio
from cellmesh.common.rpc.channel import open_aio_channel
from cellmesh.common.tls.identity import registry_name

if TYPE_CHECKING:
    from cellmesh.common.tls.folder import IdentityFolder


class RegistryLink:
    """One channel to one address at a time. Used in the event loop.

    Args:
        folder: The identity that calls; tells where the registry is.
        network: The network whose registry it is.

    Attributes:
        addresses: Where the registry is; empty until `find` has found some.
        name: The name that the registry's certificate carries.
    """

    def __init__(self, folder: IdentityFolder, network: str) -> None:
        self.addresses: tuple[str, ...] = ()
        self.name = registry_name(network)
        self._folder = folder
        self._index = 0
        self._channel: grpc.aio.Channel | None = None

    def find(self) -> bool:
        """Read from the identity folder where the registry is; whether it says so."""
        mesh = self._folder.mesh()
        self.addresses = mesh.registry_addresses if mesh is not None else ()
        return bool(self.addresses)

    @property
    def address(self) -> str:
        """The address in use."""
        return self.addresses[self._index % len(self.addresses)]

    @property
    def is_open(self) -> bool:
        """Whether there is a channel."""
        return self._channel is not None

    def open(self) -> grpc.aio.Channel:
        """The channel, opened when there is none."""
        if self._channel is None:
            self._channel = open_aio_channel(self.address, identity=self._folder, server_name=self.name)
        return self._channel

    async def close(self) -> None:
        """Close the channel. The next one shows the certificate that is in the folder then."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)

    def learn(self, addresses: tuple[str, ...]) -> None:
        """Go by other addresses from now on. The one in use stays so, if it is among them."""
        in_use = self.address if self.addresses else ""
        self.addresses = addresses
        self._index = addresses.index(in_use) if in_use in addresses else 0

    async def next_address(self) -> None:
        """Go to the next address, if there is another one. The folder may know more by now than when they were read."""
        mesh = self._folder.mesh()
        told = mesh.registry_addresses if mesh is not None else ()
        if told and set(told) != set(self.addresses):
            self.learn(tuple(dict.fromkeys((self.address, *told))) if self.addresses else told)
        if len(self.addresses) > 1:
            self._index += 1
            await self.close()
