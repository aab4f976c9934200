"""The link to a registry that has several addresses, some of which are learnt while it is in use."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cellmesh.common.rpc.registry_link import RegistryLink
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo


def told(folder: IdentityFolder, *addresses: str) -> None:
    folder.store_mesh(MeshInfo("00.trial.demo", "demo", addresses))


def test_addresses_that_were_noted_later_are_tried(tmp_path: Path) -> None:
    async def main() -> None:
        folder = IdentityFolder(tmp_path)
        told(folder, "a:1")
        link = RegistryLink(folder, "demo")
        assert link.find()
        await link.next_address()
        assert link.address == "a:1"
        told(folder, "c:1", "b:1", "a:1")
        seen = []
        for _ in range(4):
            seen.append(link.address)
            await link.next_address()
        # Each once, the first again after the last; one that is told no more is left out.
        assert seen == ["a:1", "c:1", "b:1", "a:1"]
        told(folder, "b:1", "d:1")
        await link.next_address()
        await link.next_address()
        assert link.address in ("b:1", "d:1")

    asyncio.run(main())


def test_the_address_in_use_stays_in_use(tmp_path: Path) -> None:
    async def main() -> None:
        folder = IdentityFolder(tmp_path)
        told(folder, "a:1", "b:1")
        link = RegistryLink(folder, "demo")
        link.find()
        await link.next_address()
        assert link.address == "b:1"
        link.learn(("b:1", "a:1", "c:1"))
        assert link.address == "b:1"
        link.learn(("c:1", "a:1"))
        assert link.address == "c:1"

    asyncio.run(main())
