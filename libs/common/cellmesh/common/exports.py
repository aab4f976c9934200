"""Names of a package that come from its modules, each imported when it is first asked for.

A package is imported with whichever module of it is wanted: if its names were imported at once, so would be all that
is behind them. A command that reads one file of a cell must not wait for servers and storage.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def exports(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package.

    Type checkers see none of it: the package imports the same names in an `if TYPE_CHECKING:`, and sets `__getattr__`
    in its `else:`.

    Args:
        package: The package's `__name__`.
        modules: Name -> the module of the package that has it. No name is a module's too: which of them one got would
            depend on what was imported before.
    """
    assert not set(modules) & set(modules.values()), f"names of {package} are modules too"

    def get(name: str) -> Any:
        module = modules.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{module}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
