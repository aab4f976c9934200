"""What may stand at the cursor, as a menu: names of the Cortex, of the session, and of the shell's own commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from cellmesh.cli.shell.declarations import Member
from cellmesh.cli.shell.kinds import Kinds
from cellmesh.cli.shell.names import Names, Prop
from cellmesh.cli.shell.places import Place, Wanted, expression_text, place_of, variables_in
from cellmesh.cli.shell.rendering import shown_value
from cellmesh.cli.shell.scan import KEYWORDS, TEXT_SIZE_MAX
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

if TYPE_CHECKING:
    from cellmesh.cli.shell.meta import MetaCommand
    from cellmesh.cli.shell.session import Session

COUNT_MAX: Final = 300
META_SIZE: Final = 70
SEGMENT_SIZE_MIN: Final = 2

HELP_WORDS: Final = ("help ", "\\help ", "\\h ")


class StormCompleter(Completer):
    """Completes queries and the shell's commands. It may ask the Cortex: it is to run in a thread.

    Args:
        names: The names of the Cortex.
        session: What the shell has: variables and so on.
        commands: The shell's commands by name, with the backslash.
    """

    def __init__(self, names: Names, session: Session, commands: dict[str, MetaCommand]) -> None:
        self._names = names
        self._session = session
        self._commands = commands
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what fits, the best first."""
        text = document.text_before_cursor
        if len(text) > TEXT_SIZE_MAX:
            return
        if text.startswith(("\\", *HELP_WORDS)):
            yield from self._of_command(text, complete_event)
            return
        text = expression_text(text)
        place = place_of(text, self._names)
        # Nothing jumps up before anything is typed, but behind what can only be a name.
        is_typed = bool(place.word) or text.endswith(("#", "$"))
        is_typed = is_typed or place.wanted in (Wanted.VERB, Wanted.MEMBER)
        if is_typed or complete_event.completion_requested:
            yield from _first(self._of_query(place, text, document.text_after_cursor))

    # The shell's commands.

    def _of_command(self, text: str, event: CompleteEvent) -> Iterator[Completion]:
        name, blank, rest = text.partition(" ")
        if not blank:
            rows = ((command.name, command.doc) for command in self._commands.values())
            yield from _matching(name, rows)
            return
        word = rest.lstrip()
        match "help" if name == "help" else self._commands[name].completes if name in self._commands else "":
            case "file" if " " not in word:
                yield from self._paths.get_completions(Document(word), event)
            case "query":
                yield from self._of_embedded_query(rest, event)
            case "help":
                yield from _first(_matching(word, self._help_names(word)))
            case "view":
                rows = ((view.name or view.iden, view.iden) for view in self._names.views())
                yield from _first(_matching(word, [("default", "the default view"), *rows]))
            case "user":
                yield from _matching(word, ((user, "") for user in self._names.users()))
            case "variable":
                yield from _matching(word.lstrip("$"), ((key, "") for key in self._session.variables))
            case str() as words if words.startswith("one of "):
                yield from _matching(word, ((one, "") for one in words.removeprefix("one of ").split()))

    def _of_embedded_query(self, text: str, event: CompleteEvent) -> Iterator[Completion]:
        yield from self.get_completions(Document(text.lstrip()), event)

    def _help_names(self, word: str) -> Iterator[tuple[str, str]]:
        names = self._names
        if word.startswith("$"):
            yield from self._library_rows(word)
            return
        yield from names.forms.items()
        yield from names.commands.items()
        yield from self._full_props(word)
        yield "$lib", "the library"

    # Queries.

    def _of_query(self, place: Place, text: str, behind: str) -> Iterator[Completion]:
        names, word = self._names, place.word
        match place.wanted:
            case Wanted.LIBRARY:
                yield from _matching(word, self._library_rows(word))
            case Wanted.MEMBER:
                yield from _matching(word, self._member_rows(text[: len(text) - len(word) - 1]))
            case Wanted.VARIABLE:
                yield from _matching(word, self._variable_rows(text + behind, word))
            case Wanted.TAG:
                yield from _matching(word, ((tag, "tag") for tag in names.tags(word)))
            case Wanted.TAG_PROP:
                yield from _matching(word, names.tag_props.items())
            case Wanted.VERB:
                yield from _matching(word, names.verbs.items())
            case Wanted.PROP:
                yield from _matching(word, self._relative_props(place.form))
            case Wanted.FLAG:
                flags = ((flag.name, flag.doc) for flag in names.flags(place.command))
                yield from _matching(word, flags)
            case Wanted.START:
                yield from self._of_start(place)
            case Wanted.PIPED:
                yield from _matching(word, names.commands.items())
                yield from self._forms(word)
            case Wanted.TARGET:
                near = names.neighbours(place.form) if place.form else ()
                yield from _matching(
                    word, ((form, names.forms[form]) for form in near if form in names.forms)
                )
                yield from self._forms(word)
            case Wanted.FORM:
                yield from self._forms(word)
                yield from _matching(word, names.commands.items())
                yield from _matching(word, ((keyword, "") for keyword in sorted(KEYWORDS)))
            case Wanted.NOTHING:
                return

    def _of_start(self, place: Place) -> Iterator[Completion]:
        yield from self._forms(place.word)
        yield from _matching(place.word, self._names.commands.items())
        yield from _matching(place.word, ((keyword, "") for keyword in sorted(KEYWORDS)))
        yield from _matching(place.word, [("help", "tell about a form, property, command or function")])

    def _forms(self, word: str) -> Iterator[Completion]:
        yield from _matching(word, self._names.forms.items(), by_segment=True)
        yield from _matching(word, self._full_props(word))

    def _full_props(self, word: str) -> Iterator[tuple[str, str]]:
        """The full names of the properties of the forms that a word has whole."""
        names = self._names
        for end in (index for index, char in enumerate(word) if char in ":."):
            form = word[:end]
            if form not in names.forms:
                continue
            if word[end] == ":":
                for name, prop in names.props[form].items():
                    yield f"{form}:{name}", _prop_text(prop)
            else:
                for name, prop in names.universals.items():
                    yield f"{form}{name}", _prop_text(prop)

    def _relative_props(self, form: str | None) -> Iterator[tuple[str, str]]:
        names = self._names
        for name, prop in names.props.get(form or "", {}).items():
            yield f":{name}", _prop_text(prop)
        for name, prop in names.universals.items():
            yield name, _prop_text(prop)

    def _library_rows(self, word: str) -> Iterator[tuple[str, str]]:
        path, dot, _ = word.rpartition(".")
        if not dot:
            yield "$lib", "the library"
            return
        for member in self._names.libraries.get(path, ()):
            yield f"{path}.{_inserted(member)}", _member_text(member)

    def _member_rows(self, text: str) -> Iterator[tuple[str, str]]:
        """The members of the value that a text ends with."""
        for member in Kinds(text, self._names.declared, self._session.variables).members():
            yield _inserted(member), _member_text(member)

    def _variable_rows(self, text: str, word: str) -> Iterator[tuple[str, str]]:
        for name, value in self._session.variables.items():
            yield name, f"session: {shown_value(value)}"
        for name in variables_in(text):
            if name != word and name not in self._session.variables:
                yield name, "of this query"
        yield from (("lib", "the library"), ("node", "the present node"), ("path", "the path to it"))


def _inserted(member: Member) -> str:
    """What is written for a member: functions with the bracket that a call needs."""
    return f"{member.name}(" if member.signature else member.name


def _member_text(member: Member) -> str:
    return f"{member.signature}  {member.doc}" if member.signature else member.doc


def _prop_text(prop: Prop) -> str:
    return f"{prop.type}  {prop.doc}"


def _matching(
    word: str, rows: Iterable[tuple[str, str]], *, by_segment: bool = False
) -> Iterator[Completion]:
    """The names that begin with a word; behind them those with a part that begins with it, fqdn for inet:fqdn."""
    later: list[tuple[str, str]] = []
    for name, doc in rows:
        if name.startswith(word):
            yield _completion(word, name, doc)
        elif by_segment and len(word) >= SEGMENT_SIZE_MIN and f":{word}" in name:
            later.append((name, doc))
    for name, doc in later:
        yield _completion(word, name, doc)


def _completion(word: str, name: str, doc: str) -> Completion:
    line = doc.partition("\n")[0]
    meta = line if len(line) <= META_SIZE else line[: META_SIZE - 1] + "…"
    shown = name.rpartition(".")[2] if name.startswith("$lib.") else name
    return Completion(name, start_position=-len(word), display=shown, display_meta=meta)


def _first(found: Iterator[Completion]) -> Sequence[Completion]:
    """The first of them, each name once, without the only one when it is typed already."""
    kept: dict[str, Completion] = {}
    for completion in found:
        kept.setdefault(completion.text, completion)
        if len(kept) >= COUNT_MAX:
            break
    if len(kept) == 1 and next(iter(kept.values())).start_position == -len(next(iter(kept))):
        return []
    return list(kept.values())
