"""What can be completed: the names that the Cortex knows, asked in the background.

The model and what the language has come once, when the shell starts; tags, views and users when they are needed, by a
thread of the completion. Nothing here raises for want of an answer: a shell without completion is a
shell all the same, and `failure` tells why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from cellmesh.api.cortex.v1 import storm_pb2, storm_service_pb2_grpc
from cellmesh.cli.commands.model import fetch
from cellmesh.cli.shell.declarations import Declarations, Flag, Member, fetch_declarations
from cellmesh.cli.views import LIST_VIEWS, View
from cellmesh.client import CellClient
from cellmesh.common.errors import CellError
from cellmesh.common.values import from_value, to_value

ItemT = TypeVar("ItemT")

BACKGROUND_TIMEOUT_S: Final = 20.0
WAITED_TIMEOUT_S: Final = 2.0
"""For what the menu waits for; typing goes on meanwhile."""

TAG_COUNT_MAX: Final = 200
KEPT_S: Final = 20.0

_TAGS: Final = "syn:tag^=$prefix +:depth<=$depth | limit $count"
_USERS: Final = "$found=([]) for $user in $lib.auth.users.list() { $found.append($user.name) } return($found)"


@dataclass(frozen=True, slots=True)
class Prop:
    """A property: the name of its type, and what it means."""

    type: str
    doc: str


class Names:
    """The names of one Cortex. Threads may share it.

    Attributes:
        version: Changes when names came in.
        on_change: Called then, in the thread that loads them.
        failure: Why names could not be had, the last time; empty when they could.
        model: The model as `cellmesh model` fetches it.
        forms: What forms mean, by name.
        props: Properties by form, by name relative to it; universal ones begin with a dot.
        verbs: What edges mean, by verb.
        tag_props: Properties of tags, with what they mean.
        declared: What the language has.
    """

    def __init__(self, client: CellClient, options: Callable[[], storm_pb2.StormOptions]) -> None:
        self._client = client
        self._options = options
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[float, Any]] = {}
        self.version = 0
        self.on_change: Callable[[], None] = lambda: None
        self.failure = ""
        self.is_loading = False
        self.model: dict[str, Any] = {}
        self.forms: Mapping[str, str] = MappingProxyType({})
        self.props: Mapping[str, Mapping[str, Prop]] = MappingProxyType({})
        self.universals: Mapping[str, Prop] = MappingProxyType({})
        self.verbs: Mapping[str, str] = MappingProxyType({})
        self.tag_props: Mapping[str, str] = MappingProxyType({})
        self.declared = Declarations()
        self._near: dict[str, tuple[str, ...]] = {}

    # What comes once.

    def load_in_background(self) -> None:
        """Begin to ask for the names, anew if they are there already."""
        self.is_loading = True
        threading.Thread(target=self.load, name="shell-names", daemon=True).start()

    def load(self) -> None:
        """Ask for the names and wait for them."""
        self.is_loading = True
        failure = ""
        for step in (self._load_declarations, self._load_model):
            try:
                step()
            except CellError as error:
                failure = error.message
            self._changed()
        with self._lock:
            self._kept.clear()
        self.failure = failure
        self.is_loading = False
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        self.on_change()

    def _load_model(self) -> None:
        model = fetch(self._client)
        self.universals = {
            name if name.startswith(".") else f".{name}": Prop(prop["type"][0], prop["doc"])
            for name, prop in model["univs"].items()
        }
        self.props = {
            form: {
                name: Prop(_type_text(prop["type"]), prop["doc"])
                for name, prop in entry["props"].items()
                if not name.startswith(".")
            }
            for form, entry in model["forms"].items()
        }
        self.forms = {
            name: entry["doc"] or model["types"].get(name, {}).get("doc", "")
            for name, entry in model["forms"].items()
        }
        verbs: dict[str, str] = {}
        for edge in model["edges"]:
            verbs.setdefault(edge["verb"], edge["doc"])
        self.verbs = verbs
        self.tag_props = {name: entry["doc"] for name, entry in model["tagprops"].items()}
        self.model = model
        self._near = {}

    def _load_declarations(self) -> None:
        self.declared = fetch_declarations(self._client, BACKGROUND_TIMEOUT_S)

    # Looked up in what has come.

    @property
    def commands(self) -> Mapping[str, str]:
        """What commands do, by name."""
        return self.declared.commands

    @property
    def libraries(self) -> Mapping[str, Sequence[Member]]:
        """Members of namespaces, by `$lib.x`."""
        return self.declared.libraries

    def form_of(self, word: str) -> str | None:
        """Return the form that a word names, by itself or as the beginning of a property's full name."""
        if word in self.forms:
            return word
        head = word
        while ":" in head or "." in head:
            head = head[: max(head.rfind(":"), head.rfind("."))]
            if head in self.forms:
                name = word[len(head) :].removeprefix(":")
                is_known = name in self.props.get(head, {}) or name in self.universals
                return head if is_known else None
        return None

    def neighbours(self, form: str) -> tuple[str, ...]:
        """Return the forms that properties lead to from a form, or that have a property leading to it."""
        found = self._near.get(form)
        if found is None:
            own = {prop.type.removeprefix("array of ") for prop in self.props.get(form, {}).values()}
            array = f"array of {form}"
            found = tuple(
                other
                for other, props in self.props.items()
                if other in own or any(prop.type in (form, array) for prop in props.values())
            )
            self._near[form] = found
        return found

    def flags(self, command: str) -> Sequence[Flag]:
        """Return the flags of a command."""
        return self.declared.flags.get(command, ())

    # What is asked when it is needed.

    def printed(self, text: str) -> list[str]:
        """Return the lines that a query prints. Raises CellError."""
        return self._printed(text, BACKGROUND_TIMEOUT_S)

    def tags(self, prefix: str) -> Sequence[str]:
        """Return the first tags that begin with a text and are no deeper than it."""

        def ask() -> list[str]:
            values = {"prefix": prefix, "depth": prefix.count("."), "count": TAG_COUNT_MAX}
            nodes = (
                self._nodes(_TAGS, values)
                if prefix
                else self._nodes("syn:tag:depth=0 | limit $count", values)
            )
            return [str(from_value(node.value)) for node in nodes]

        return self._keep("tags", prefix, ask)

    def views(self) -> Sequence[View]:
        """Return the views there are."""

        def ask() -> list[View]:
            return [View(str(iden), str(name or "")) for iden, name in self._called(LIST_VIEWS)]

        return self._keep("views", "", ask)

    def users(self) -> Sequence[str]:
        """Return the names of the users."""

        def ask() -> list[str]:
            return [str(name) for name in self._called(_USERS)]

        return self._keep("users", "", ask)

    def forget(self) -> None:
        """Forget what was asked when it was needed: another view has other tags."""
        with self._lock:
            self._kept.clear()

    def _keep(
        self, kind: str, key: str, ask: Callable[[], list[ItemT]], *, kept_s: float = KEPT_S
    ) -> list[ItemT]:
        with self._lock:
            found = self._kept.get((kind, key))
        if found is not None and time.monotonic() - found[0] < kept_s:
            return cast(list[ItemT], found[1])
        try:
            answer = ask()
        except CellError:
            # Too slow this time, or not for this user: then there is no menu, and typing goes on.
            return []
        with self._lock:
            self._kept[kind, key] = (time.monotonic(), answer)
        return answer

    def _stub(self) -> storm_service_pb2_grpc.StormServiceStub:
        return self._client.stub(storm_service_pb2_grpc.StormServiceStub, read_only=True)

    def _request(self, text: str, values: Mapping[str, Any], show: Sequence[str]) -> storm_pb2.StormRequest:
        options = storm_pb2.StormOptions()
        options.CopyFrom(self._options())
        options.ClearField("vars")
        options.readonly, options.limit = True, 0
        options.show[:] = show
        for name, value in values.items():
            options.vars[name].CopyFrom(to_value(value))
        return storm_pb2.StormRequest(text=text, options=options)

    def _messages(
        self, text: str, values: Mapping[str, Any], show: str, timeout_s: float
    ) -> list[storm_pb2.StormMessage]:
        from cellmesh.common.errors import from_detail

        found: list[storm_pb2.StormMessage] = []
        for batch in self._stub().Storm(self._request(text, values, [show]), timeout=timeout_s):
            for message in batch.messages:
                if message.HasField("err"):
                    raise from_detail(message.err)
                found.append(message)
        return found

    def _printed(self, text: str, timeout_s: float) -> list[str]:
        messages = self._messages(text, {}, "print", timeout_s)
        return [
            line
            for message in messages
            if message.HasField("print")
            for line in message.print.text.split("\n")
        ]

    def _nodes(self, text: str, values: Mapping[str, Any]) -> list[Any]:
        messages = self._messages(text, values, "node", WAITED_TIMEOUT_S)
        return [message.node for message in messages if message.HasField("node")]

    def _called(self, text: str) -> Any:
        request = self._request(text, {}, [])
        answer = self._stub().CallStorm(
            storm_pb2.CallStormRequest(text=text, options=request.options), timeout=WAITED_TIMEOUT_S
        )
        return from_value(answer.value)


def _type_text(type_: Sequence[Any]) -> str:
    name, options = type_
    return f"array of {options['type']}" if name == "array" and "type" in options else str(name)
