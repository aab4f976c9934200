"""Hypothesis's examples may take their time: on a busy machine any of them can."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("cellmesh", deadline=None)
settings.load_profile("cellmesh")
