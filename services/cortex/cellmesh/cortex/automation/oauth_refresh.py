"""The cell's part that fetches tokens anew before they end. Only a leader does."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Final

from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.errors import CellError
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.cortex.storm.inside import query_of, run_logged
from cellmesh.cortex.storm.outside.oauth_calls import fetch

if TYPE_CHECKING:
    from cellmesh.cortex.stores.oauth import OAuthStore
    from cellmesh.cortex.storm.engine import Engine
    from cellmesh.cortex.storm.runtime.context import RunContext

LOGGER = get_logger(__name__)

LOOK_S: Final = 1.0
"""How often tokens are looked at."""

PAUSE_FIRST_S: Final = 5.0
PAUSE_MAX_S: Final = 600.0
"""How long until a provider that did not answer is asked again; twice as long each time."""

JOIN_S: Final = 10.0
USER: Final = "root"


def refresh(context: RunContext, store: OAuthStore, iden: str, user: str) -> None:
    """Fetch a token anew. What goes wrong is kept in its place, and told to who asks for it."""
    provider, old = store.get(context.session, iden), store.token(context.session, iden, user)
    if provider is None or old is None or "refresh_token" not in old:
        return
    grant = {"grant_type": "refresh_token", "refresh_token": old["refresh_token"]}
    found = fetch(context, provider, grant, old)
    now_ms = time.time_ns() // 1_000_000
    if found.facts is not None:
        new = found.facts
    elif found.is_final or now_ms >= old["expires_at"]:
        new = {"error": found.error}
    else:
        pause_s = min(2 * float(old.get("pause_s", PAUSE_FIRST_S / 2)), PAUSE_MAX_S)
        new = {
            **old,
            "refresh_at": min(now_ms + int(pause_s * 1000), old["expires_at"]),
            "pause_s": pause_s,
        }
    # The user may have forgotten it, or have got another one, while the provider was asked.
    store.put_token(context.session, iden, user, new, old)


class TokenRefresher:
    """Looks at all tokens and fetches those anew that are half through their life.

    Args:
        store: The tokens.
        is_active: Whether it begins before `role_changed` says so.
    """

    name = "oauth-tokens"

    def __init__(self, store: OAuthStore, *, is_active: bool = True) -> None:
        self._store = store
        self._leads = is_active
        self._engine: Engine | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def load(self, engine: Engine) -> None:
        """Take the engine, whose queries keep what is fetched."""
        self._engine = engine

    async def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="oauth-tokens", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End; a provider that is being asked is not waited for long."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, JOIN_S)

    async def role_changed(self, leads: bool) -> None:
        """Fetch where the cell leads, and nowhere else."""
        self._leads = leads

    def health(self) -> PartHealth:
        """Always well: a provider that does not answer is told to who asks for its tokens."""
        return WELL

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            if self._leads and self._engine is not None:
                try:
                    self._look(self._engine)
                except CellError as error:
                    LOGGER.warning("oauth_tokens_unread", error=error.name)

    def _look(self, engine: Engine) -> None:
        now_ms = time.time_ns() // 1_000_000
        with engine.graph.slab.view() as txn:
            rows = self._store.load_tokens(txn)
        for iden, user, facts in rows:
            if self._stopping.is_set() or not self._leads:
                return
            if "refresh_token" in facts and facts["refresh_at"] <= now_ms:
                self._refresh(engine, iden, user)

    def _refresh(self, engine: Engine, iden: str, user: str) -> None:
        def act(context: RunContext) -> None:
            refresh(context, self._store, iden, user)

        run_logged(query_of(engine, act, USER), "oauth_token_not_fetched", provider=iden, token_user=user)
