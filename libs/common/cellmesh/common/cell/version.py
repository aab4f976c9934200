"""The version of Cellmesh that is installed."""

from __future__ import annotations

_version = ""


def cellmesh_version() -> str:
    """The version of Cellmesh that is installed; "unknown" where only its source is."""
    global _version
    if not _version:
        from importlib import metadata

        try:
            _version = metadata.version("cellmesh")
        except metadata.PackageNotFoundError:
            _version = "unknown"
    return _version
