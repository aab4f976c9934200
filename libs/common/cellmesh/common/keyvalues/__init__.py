"""Key-values: a small tree of values that every cell keeps, with a record in the change log for each change.

schema    the database, paths as keys, bounds
store     KeyValues: get, set, add, pop, load, lists; KeyValueApplier: records applied again
moves     a place gets another path
watches   who waits for changes, each with a bounded queue
service   KeyValueService, and the rules that open it to users
"""

from __future__ import annotations

from cellmesh.common.keyvalues.schema import DATABASES, TYPE_NAME
from cellmesh.common.keyvalues.service import KeyValueServicer, key_value_service
from cellmesh.common.keyvalues.store import KeyValueApplier, KeyValues

__all__ = [
    "DATABASES",
    "TYPE_NAME",
    "KeyValueApplier",
    "KeyValueServicer",
    "KeyValues",
    "key_value_service",
]
