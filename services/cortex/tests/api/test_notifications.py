"""NotificationService on a real cell: notices as they are left, again from an offset, for administrators only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.cortex.v1 import notification_pb2
from cellmesh.api.cortex.v1.notification_service_pb2_grpc import NotificationServiceStub
from cellmesh.client import open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.rpc.permissions import Level
from cellmesh.common.values import from_value
from cellmesh.cortex.api.permissions import PERMISSIONS
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig


@pytest.fixture(name="cell")
def _cell(tmp_path: Path) -> Iterator[CortexCell]:
    with running(CortexCell(load_config(CortexConfig, dir=tmp_path, environ={}))) as cell:
        cell.engine.call("$lib.auth.users.add(low)")
        yield cell


def tell(cell: CortexCell, text: str) -> None:
    cell.engine.call(f"$lib.auth.users.byname(low).tell('{text}')")


def texts(answer: Any) -> list[str]:
    return [from_value(notice.data)["text"] for notice in answer.notifications]


def test_notices_as_they_are_left(cell: CortexCell) -> None:
    tell(cell, "before")
    with open_cell(f"unix://{cell.folder.path}/cell.sock") as client:
        stub = client.stub(NotificationServiceStub)
        answers = stub.WatchNotifications(notification_pb2.WatchNotificationsRequest())
        first = next(answers)
        assert texts(first) == []
        tell(cell, "one")
        cell.engine.call("[ inet:asn=1 ] $lib.user.vars.set(x, 5)")
        answer = next(answers)
        assert texts(answer) == ["one"]
        notice = answer.notifications[0]
        low, root = cell.engine.call("return(($lib.auth.users.byname(low).iden, $lib.user.iden))")
        assert (notice.user_id, notice.sender_id, notice.type) == (low, root, "tell")
        assert notice.create_time.seconds > 0
        tell(cell, "two")
        assert texts(next(answers)) == ["two"]
        answers.cancel()
        again = stub.WatchNotifications(notification_pb2.WatchNotificationsRequest(offset=first.next_offset))
        found: list[str] = []
        while len(found) < 2:
            found.extend(texts(next(again)))
        assert found == ["one", "two"]
        again.cancel()
        assert notice.id.isdigit()


def test_they_are_for_administrators() -> None:
    row = PERMISSIONS["/cellmesh.api.cortex.v1.NotificationService/WatchNotifications"]
    assert row.level is Level.ADMIN
