"""Backups as files: what one consists of, sent ones kept as an archive, and the way back. Needs no running cell.

manifest  backup.json: which cell, which state, which files with which hashes
archive   what StreamBackup sends as one .tar file
restore   a backup into a new folder, every hash checked

A cell makes backups with `cellmesh.common.cell.backup`.
"""

from __future__ import annotations

from cellmesh.common.backup.archive import ArchiveWriter
from cellmesh.common.backup.manifest import MANIFEST_FILE, read_manifest
from cellmesh.common.backup.restore import restore_backup

__all__ = ["MANIFEST_FILE", "ArchiveWriter", "read_manifest", "restore_backup"]
