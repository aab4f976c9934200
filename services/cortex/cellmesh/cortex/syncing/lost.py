"""What ends a push or pull that is not alone."""

from __future__ import annotations


class Lost(Exception):
    """The target has taken the source further: somebody else runs the same push or pull, or the answer was late."""
