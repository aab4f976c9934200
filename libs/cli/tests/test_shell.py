"""The parts of the shell without a terminal, and its one-shot form on a real Cortex."""

from __future__ import annotations

import csv
import io
import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cellmesh.api.cortex.v1 import node_pb2, storm_pb2
from cellmesh.cli.commands.storm import query_of
from cellmesh.cli.main import run
from cellmesh.cli.shell.declarations import Declarations, Member
from cellmesh.cli.shell.history import FILE_SIZE_MAX, ShellHistory
from cellmesh.cli.shell.kinds import OF_LOOPS, Kinds
from cellmesh.cli.shell.names import Names, Prop
from cellmesh.cli.shell.places import Wanted, expression_text, place_of, variables_in
from cellmesh.cli.shell.reading import is_ready
from cellmesh.cli.shell.rendering import Paint, make_renderer, other_lines, safe_text
from cellmesh.cli.shell.scan import is_complete, only_reads, scan
from cellmesh.cli.shell.session import Session
from cellmesh.cli.shell.tables import columns_of, fitting, leaf_tags
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.values import to_value
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_toolkit.document import Document

STORM_PARTS = st.sampled_from(
    [
        "inet:fqdn",
        "=",
        "a.com",
        "'",
        '"',
        "`",
        "'''",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "//",
        "/*",
        "*/",
        "\\",
        "\n",
        " ",
        "|",
        "$x",
        "$lib.",
        "#a.b",
        ":zone",
        "-(",
        ")>",
        "<(",
        ")-",
        "->",
        "+",
        "-",
        "--size",
        "$",
        "#",
        ":",
        ".",
        "é",
        "\x00",
    ]
)


@given(st.lists(STORM_PARTS | st.text(max_size=5), max_size=20).map("".join))
def test_any_text_is_scanned_whole(text: str) -> None:
    scanned = scan(text)
    assert "".join(token.text for token in scanned.tokens) == text
    assert [token.start for token in scanned.tokens] == [
        sum(len(token.text) for token in scanned.tokens[:index]) for index in range(len(scanned.tokens))
    ]
    # What is asked of any half of a query must give an answer.
    is_complete(text)
    only_reads(text)
    place_of(text, NAMES)


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("inet:fqdn", True),
        ("inet:fqdn +{", False),
        ("inet:fqdn +{ +:zone }", True),
        ("inet:fqdn -(uses)> *", True),
        ("inet:fqdn <(refs)- media:news", True),
        ("inet:fqdn -(", False),
        ("$x = ({", False),
        ("inet:url=http://a.com/x?y=(1)", True),
        ("inet:fqdn // {", True),
        ("inet:fqdn /* {", False),
        ("$x = 'a{b'", True),
        ("$x = 'a{b", False),
        ('$x = "a\\"', False),
        ("$x = '''a ' b", False),
        ("$x = '''a ' b'''", True),
        ("$x = `a {$y} b", False),
        ("it's", True),
        ("inet:fqdn |", False),
        ("inet:fqdn }", True),
        ("", True),
    ],
)
def test_whether_a_query_goes_on(text: str, complete: bool) -> None:
    assert is_complete(text) is complete


def test_a_command_with_a_query_goes_on_as_the_query_does() -> None:
    assert is_ready("\\format (")
    assert not is_ready("\\save f.csv inet:fqdn +{")
    assert is_ready("\\save f.csv inet:fqdn")


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("inet:fqdn +:zone -> inet:dns:a | uniq | limit 5", True),
        ("inet:fqdn:host*in=([a, b]) -(uses)> *", True),
        ("[ inet:fqdn=a.com ]", False),
        ("inet:fqdn [ +#a ]", False),
        ("inet:fqdn | delnode", False),
        ("delnode", False),
        ("inet:fqdn $lib.print($node.value())", False),
        ("for $x in $y { inet:fqdn }", False),
    ],
)
def test_what_surely_only_reads(text: str, reads: bool) -> None:
    assert only_reads(text) is reads


def names_of_a_small_model() -> Names:
    names = Names.__new__(Names)
    names.version, names._near = 1, {}
    names.forms = {"inet:fqdn": "A name.", "inet:dns:a": "An answer.", "inet:ipv4": "An address."}
    names.props = {
        "inet:fqdn": {"zone": Prop("inet:fqdn", ""), "host": Prop("str", "")},
        "inet:dns:a": {"fqdn": Prop("inet:fqdn", ""), "ipv4": Prop("inet:ipv4", "")},
        "inet:ipv4": {"asn": Prop("inet:asn", "")},
    }
    names.universals = {".seen": Prop("ival", ""), ".created": Prop("time", "")}
    view, text = Member("get", "(iden=null)", "Get one.", type="view"), Member("upper", "()", "", type="str")
    names.declared = Declarations(
        commands={"limit": "Pass on.", "stats.countby": "Count."},
        libraries={
            "$lib": [
                Member("view", "", "a library", is_library=True),
                Member("guid", "(*args)", "", type="str"),
            ],
            "$lib.view": [view],
            "$lib.inet": [],
        },
        types={
            "str": [text, Member("split", "(text)", "", type="list")],
            "list": [Member("size", "()", "", type="int")],
            "dict": [],
            "view": [
                Member("iden", "", "", type="str"),
                Member("parent", "", "", type="view"),
                Member("fork", "(name=null)", "", type="view"),
            ],
            "node": [Member("data", "", "", type="node:data"), Member("iden", "()", "", type="str")],
            "node:data": [Member("load", "(name)", "")],
        },
    )
    return names


NAMES = names_of_a_small_model()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$lib.view.get()", "iden parent fork"),
        ("inet:fqdn $lib.print($lib.view.get(x, (1, 2)).parent.parent", "iden parent fork"),
        ("$lib.view.get().fork(name='a).b').iden", "upper split"),
        ("$lib.view", "get"),
        ("$lib", "view guid"),
        ("$lib.guid(a).upper().split(' ')", "size"),
        # Of what a call returns, not of the function.
        ("$lib.view.get", ""),
        ("$lib.view.get().nothing", ""),
        ("$lib.nothing()", ""),
        ("$node", "data iden"),
        ("inet:fqdn $node.data", "load"),
        ("$node.data.load(x)", ""),
        # What was set last counts.
        ("$v = $lib.guid(a) $v = $lib.view.get() $lib.print($v", "iden parent fork"),
        ("$v=$lib.view.get().iden inet:fqdn=$v +:zone=x $v", "upper split"),
        ("$v = $lib.view.get() $w = $v.parent $w", "iden parent fork"),
        ("$v = $v $v", ""),
        # What a loop goes over.
        ("for $v in $lib.view.list() { $v", "iden parent fork"),
        ("for $v in $lib.view.list() { for $w in $v.children() { $lib.print($w", "iden parent fork"),
        ("for $v in $lib.guid(a).split(b) { $v", ""),
        ("$t = hello for $p in $t.split(l) { $p", "upper split"),
        ("for $v in $lib.view.list() { $v = text $v", "upper split"),
        ("for $v in $v { $v", ""),
        ("for $v in $nothing.of.it { $v", ""),
        ("$a = hello $a", "upper split"),
        ("$a = 'x y' $a", "upper split"),
        ("$a = ([1, 2]) $a", "size"),
        ("$a = (1, 2) $a", "size"),
        ('("text")', "upper split"),
        ("$s", "upper split"),
        ("$n", ""),
        ("$unknown", ""),
        ("$lib.view.get(", ""),
        (")", ""),
        ("", ""),
        ("inet:fqdn", ""),
    ],
)
def test_what_stands_before_a_dot_is_told_by_the_declarations(text: str, found: str) -> None:
    kinds = Kinds(text, NAMES.declared, {"s": "text", "n": 5})
    assert [member.name for member in kinds.members()] == found.split()


@given(st.text(alphabet="$lib.view()'\"[]{} =x,\n`\\", max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_text_is_too_odd_to_be_looked_at(text: str) -> None:
    Kinds(text, NAMES.declared, {}).members()
    place_of(text, NAMES)
    place_of(expression_text(text), NAMES)


@pytest.mark.parametrize(
    ("text", "wanted", "word", "form"),
    [
        ("", Wanted.START, "", None),
        ("ine", Wanted.START, "ine", None),
        ("inet:fqdn:z", Wanted.START, "inet:fqdn:z", None),
        ("inet:fqdn=a.com -> inet:d", Wanted.TARGET, "inet:d", "inet:fqdn"),
        ("inet:fqdn=a.com -> inet:dns:a +:i", Wanted.PROP, ":i", "inet:dns:a"),
        ("inet:fqdn +{ -> inet:dns:a } +:z", Wanted.PROP, ":z", "inet:fqdn"),
        ("[ inet:ipv4=1.2.3.4 :a", Wanted.PROP, ":a", "inet:ipv4"),
        ("inet:fqdn -> * +:", Wanted.PROP, ":", None),
        ("inet:fqdn +.s", Wanted.PROP, ".s", "inet:fqdn"),
        ("inet:fqdn | lim", Wanted.PIPED, "lim", "inet:fqdn"),
        ("inet:fqdn | stats.countby --s", Wanted.FLAG, "--s", "inet:fqdn"),
        ("inet:fqdn -(re", Wanted.VERB, "re", "inet:fqdn"),
        ("inet:fqdn [ +(re", Wanted.VERB, "re", "inet:fqdn"),
        ("inet:fqdn +(inet", Wanted.FORM, "inet", "inet:fqdn"),
        ("inet:fqdn +#cno.th", Wanted.TAG, "cno.th", None),
        ("#cno", Wanted.TAG, "cno", None),
        ("inet:fqdn=ine", Wanted.NOTHING, "", None),
        ("inet:url=http://ine", Wanted.NOTHING, "", None),
        ("$lib.inet.ht", Wanted.LIBRARY, "$lib.inet.ht", None),
        ("inet:fqdn=$na", Wanted.VARIABLE, "na", None),
        ("$x.na", Wanted.MEMBER, "na", None),
        ("$lib.view.get(a.b).par", Wanted.MEMBER, "par", None),
        ("'inet:f", Wanted.NOTHING, "", None),
        ("// inet:f", Wanted.NOTHING, "", None),
    ],
)
def test_what_stands_at_the_cursor(text: str, wanted: Wanted, word: str, form: str | None) -> None:
    place = place_of(text, NAMES)
    assert (place.wanted, place.word) == (wanted, word)
    if form is not None or wanted is Wanted.PROP:
        assert place.form == form


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$lib.print(`a {$ho", "$lib.print(($ho"),
        ("$lib.print(`{$a} and {$b.c", "$lib.print(($b.c"),
        ("$lib.print(`{$a} and ", "$lib.print(`{$a} and "),
        ("$lib.print(`{$a}`) inet", "$lib.print(`{$a}`) inet"),
        ("$lib.print('{$a", "$lib.print('{$a"),
        ("$lib.print(`\\{$a", "$lib.print(`\\{$a"),
        ("`", "`"),
        ("", ""),
    ],
)
def test_what_is_in_the_braces_of_a_text_is_an_expression(text: str, wanted: str) -> None:
    assert expression_text(text) == wanted


def test_variables_are_found_where_they_are_set() -> None:
    text = "$a = 5 for $b in $a { } for ($c, $d) in $a { } function f(e, g=5) { } if ($h == 1) { } $lib.x = 1"
    assert variables_in(text) == ["a", "b", "c", "d", "f", "e", "g"]


def test_forms_lead_to_their_neighbours() -> None:
    assert NAMES.neighbours("inet:fqdn") == ("inet:fqdn", "inet:dns:a")
    assert NAMES.form_of("inet:dns:a:ipv4") == "inet:dns:a"
    assert NAMES.form_of("inet:dns:a:none") is None


# What is shown.


def node(
    form: str = "inet:fqdn", value: str = "a.com", tags: str = "", **props: object
) -> storm_pb2.StormMessage:
    made = node_pb2.Node(form=form, value=to_value(value))
    for name, held in props.items():
        made.props[name].CopyFrom(to_value(held))
    for tag in tags.split():
        made.tags[tag].SetInParent()
    return storm_pb2.StormMessage(node=made)


def shown(format_name: str, *messages: storm_pb2.StormMessage, width: int | None = None) -> list[str]:
    renderer = make_renderer(format_name, Paint(False), width)
    lines = [line for message in messages for line in renderer.lines(message)]
    return [*lines, *renderer.end()]


def test_a_tree_hangs_names_on_each_other() -> None:
    message = node(tags="a a.b.c b", org="x", **{"org:name": "y", "zone": "z"})
    assert shown("tree", message) == [
        "inet:fqdn=a.com",
        "├─ :org = x",
        "│  └─ :org:name = y",
        "├─ :zone = z",
        "├─ #a",
        "│  └─ #a.b.c",
        "└─ #b",
    ]


def test_csv_has_every_column_and_reads_back() -> None:
    lines = shown("csv", node(zone='a,"b"\nc'), node("inet:ipv4", "1.2.3.4", "x y", asn=5))
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert rows[0] == {"form": "inet:fqdn", "value": "a.com", ":asn": "", ":zone": 'a,"b"\nc', "tags": ""}
    assert rows[1] == {"form": "inet:ipv4", "value": "1.2.3.4", ":asn": "5", ":zone": "", "tags": "#x #y"}


def test_json_is_one_document() -> None:
    assert json.loads("\n".join(shown("json"))) == []
    for width in (None, 80):
        found = json.loads("\n".join(shown("json", node(), node(value="b.com"), width=width)))
        assert [entry["value"] for entry in found] == ["a.com", "b.com"]


def test_a_table_leaves_out_what_does_not_fit_and_says_so() -> None:
    messages = [node(value="a.com", zone="a.com", host="x" * 30, other="y" * 30)]
    wide = shown("table", *messages)
    assert wide[0].split() == ["inet:fqdn", ":host", ":other", ":zone"]
    narrow = shown("table", *messages, width=49)
    assert narrow[0].split() == ["inet:fqdn", ":host"]
    assert narrow[3] == "(2 more that did not fit: :other, :zone)"
    assert all(len(line) <= 49 for line in narrow)


def test_a_long_value_is_cut_in_a_table() -> None:
    narrow = shown("table", node(value="v" * 300), width=60)
    assert narrow[2].endswith("…")
    assert all(len(line) <= 60 for line in narrow)


def test_columns_that_most_nodes_have_come_first() -> None:
    nodes = [node(zone="z").node, node(zone="z", rare="r").node]
    kept, left_out = fitting(columns_of("inet:fqdn", nodes), 22)
    assert [column.name for column in kept] == ["inet:fqdn", ":zone"]
    assert [column.name for column in left_out] == [":rare"]


def test_only_the_ends_of_tags_are_shown_in_tables() -> None:
    assert leaf_tags(node(tags="a a.b a.b.c ab b").node) == ["#a.b.c", "#ab", "#b"]


def test_what_others_stored_does_not_move_the_cursor() -> None:
    assert safe_text("a\x1b[2Jb\tc\nd\x07") == "a\\x1b[2Jb\tc\nd\\x07"
    printed = storm_pb2.StormMessage(print=storm_pb2.StormPrint(text="\x1b]0;title\x07"))
    assert "\x1b" not in "".join(other_lines(printed, "", Paint(True)))


def test_history_is_private_short_and_without_what_begins_with_a_blank(tmp_path: Path) -> None:
    path = tmp_path / "of" / "history"
    history = ShellHistory(path)
    for line in ("inet:fqdn", "inet:fqdn", " secret", "two\nlines"):
        history.append_string(line)
    assert list(ShellHistory(path).load_history_strings()) == ["two\nlines", "inet:fqdn"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open("a") as file:
        file.write("".join(f"\n# now\n+line {number}\n" for number in range(FILE_SIZE_MAX // 16)))
    path.chmod(0o644)
    shortened = ShellHistory(path)
    entries = list(shortened.load_history_strings())
    assert path.stat().st_size <= FILE_SIZE_MAX // 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert entries[0] == f"line {FILE_SIZE_MAX // 16 - 1}"


# What the command line means.


def test_the_first_word_is_a_query_a_url_or_an_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aliases = tmp_path / "aliases.toml"
    aliases.write_text('[aliases]\nwest = "grpcs://10.0.0.7:27493"\n')
    monkeypatch.setenv("CELLMESH_ALIASES", str(aliases))
    assert query_of("inet:fqdn", None, None) == (None, "inet:fqdn")
    assert query_of("unix:///x", None, None) == ("unix:///x", None)
    assert query_of("unix:///x", "inet:fqdn", None) == ("unix:///x", "inet:fqdn")
    assert query_of("west", None, None) == ("west", None)
    assert query_of("east", None, None) == (None, "east")
    assert query_of(None, None, "west") == ("west", None)
    with pytest.raises(click.UsageError):
        query_of("unix:///x", None, "west")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    config = load_config(
        CortexConfig, dir=tmp_path_factory.mktemp("cortex"), flags={"log_level": "error"}, environ={}
    )
    with running(CortexCell(config)):
        with open_cell(f"unix://{config.dir}") as client:
            made = Session(client, "", io.StringIO())
            assert made.run_query("[ inet:fqdn=www.example.com +#a.b ]")
        yield config.dir


@pytest.fixture
def client(folder: Path) -> Iterator[CellClient]:
    with open_cell(f"unix://{folder}") as opened:
        yield opened


def test_data_for_programs_stands_alone_on_standard_output(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = "inet:fqdn:host=www $lib.print(told) $lib.warn(careful)"
    for format_name in ("json", "csv"):
        assert run(["storm", f"unix://{folder}", "-c", query, "--format", format_name]) == 0
        told = capsys.readouterr()
        assert "told" not in told.out
        assert "told\n" in told.err
        assert "WARNING: careful" in told.err
        assert "1 node in" in told.err
        if format_name == "json":
            assert [entry["value"] for entry in json.loads(told.out)] == ["www.example.com"]
        else:
            assert [row["value"] for row in csv.DictReader(io.StringIO(told.out))] == ["www.example.com"]
    assert run(["storm", f"unix://{folder}", "-c", query, "--format", "jsonl"]) == 0
    kinds = [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()]
    assert kinds == ["init", "print", "warn", "node", "fini"]
    assert run(["storm", "--dir", str(folder), query, "--format", "table"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == "told"
    assert told.out.splitlines()[1].startswith("inet:fqdn         :domain")


def test_rows_that_a_query_makes_are_the_csv(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "inet:fqdn:host=www $lib.csv.emit($node.value(), :host) | spin"
    assert run(["storm", "--dir", str(folder), "-c", query, "--format", "csv"]) == 0
    assert capsys.readouterr().out == "www.example.com,www\n"


def test_a_failed_query_is_told_by_the_exit_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for format_name in ("nodes", "table", "tree", "json", "jsonl", "csv"):
        assert run(["storm", "--dir", str(folder), "-c", "inet:fqdnn", "--format", format_name]) == 1
        told = capsys.readouterr()
        assert "NoSuchProp" in (told.out if format_name == "jsonl" else told.err)


def test_what_is_no_terminal_gives_the_query(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("inet:fqdn:host=www\n| count"))
    assert run(["storm", "--dir", str(folder)]) == 0
    assert capsys.readouterr().out == "Counted 1 nodes.\n"


def test_names_come_from_the_cortex(client: CellClient) -> None:
    session = Session(client, "", io.StringIO())
    session.names.load()
    names = session.names
    assert names.failure == ""
    assert names.props["inet:fqdn"]["zone"].type == "inet:fqdn"
    assert "refs" in names.verbs
    assert ".seen" in names.universals
    assert [member.name for member in names.libraries["$lib.str"]] == ["concat", "format", "join"]
    assert "inet:dns:a" in names.neighbours("inet:fqdn")
    assert [flag.name for flag in names.flags("count")] == ["--help", "--yield"]
    assert "--yield" in {flag.name for flag in names.flags("stats.countby")}
    assert {member.name: member.type for member in names.libraries["$lib.view"]}["get"] == "view"
    assert "fork" in {member.name for member in names.declared.types["view"]}
    # Namespaces stand in those above them.
    assert {"str", "inet", "guid"} <= {member.name for member in names.libraries["$lib"]}
    assert (names.tags(""), names.tags("a."), names.tags("z")) == (["a"], ["a.b"], [])
    assert names.users() == ["root"]
    assert [view.name for view in names.views()] == ["default"]


def test_a_lost_cortex_leaves_a_shell_without_names(tmp_path: Path) -> None:
    with open_cell(f"unix://{tmp_path}/none", timeout_s=0.2) as client:
        session = Session(client, "", io.StringIO())
        session.names.load()
        assert session.names.failure
        assert session.names.tags("a") == []
        out = session.out
        session.handle("inet:fqdn")
        assert isinstance(out, io.StringIO)
        assert "CellUnreachable" in out.getvalue()


def test_assignments_alone_are_kept_and_others_are_queries(client: CellClient) -> None:
    session = Session(client, "", io.StringIO())
    kept = {
        "$a = 5": "5",
        "$b = (5)": 5,
        "$c = ([1, 'x y'])": [1, "x y"],
        "$d = $lib.str.join('-', $c)": "1-x y",
        "$e = $lib.auth.users.list().0.name": None,
    }
    for text, value in kept.items():
        assert session._assignment(text) == text[1], text
        if value is not None:
            session.handle(text)
            assert session.variables[text[1]] == value
    for text in (
        "$a = 5 inet:fqdn=$a",
        "$a = 5 | spin",
        "$a=:zone -> *",
        "$a = 5 [ inet:fqdn=x ]",
        "$a == 5",
    ):
        assert session._assignment(text) is None, text


def test_the_last_answer_is_saved_whole_or_not_at_all(client: CellClient, tmp_path: Path) -> None:
    out = io.StringIO()
    session = Session(client, "", out)
    path = tmp_path / "kept.json"
    session.handle("inet:fqdn:host=www")
    session.handle(f"\\save {path}")
    assert json.loads(path.read_text())[0]["value"] == "www.example.com"
    session.handle(f"\\save {path} inet:fqdnn")
    assert json.loads(path.read_text())[0]["value"] == "www.example.com"
    session.kept.is_whole = False
    session.handle(f"\\save {tmp_path / 'other.json'}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.json"]
    session.handle(f"\\save {tmp_path}/nowhere/x.csv inet:fqdn | limit 1")
    assert f"{tmp_path}/nowhere/x.csv: No such file or directory" in out.getvalue()


def test_completion_is_given_without_a_terminal(client: CellClient) -> None:
    from cellmesh.cli.shell.commands import COMMANDS
    from cellmesh.cli.shell.completion import StormCompleter
    from prompt_toolkit.completion import CompleteEvent

    session = Session(client, "", io.StringIO())
    session.names.load()
    session.variables = {"host": "www"}
    completer = StormCompleter(session.names, session, COMMANDS)

    def found(text: str, *, asked: bool = False) -> list[str]:
        event = CompleteEvent(completion_requested=asked)
        return [entry.text for entry in completer.get_completions(Document(text), event)]

    assert found("") == []
    assert "limit" in found("inet:fqdn | ", asked=True)
    # Where a pivot can lead comes before what it cannot.
    assert found("inet:fqdn -> ", asked=True)[0] in session.names.neighbours("inet:fqdn")
    # A part of the name finds it too.
    assert "inet:fqdn" in found("fqd")
    assert found("$ho") == ["host"]
    assert found("$lib.view.get().fo") == ["fork("]
    assert "iden" in found("$lib.view.get().")
    assert found("$host.upp") == ["upper("]
    assert found("$lib.print(`on {$ho") == ["host"]
    assert found("$lib.print(`on {$host.upp") == ["upper("]
    assert found("for $view in $lib.view.list() { $lib.print($view.ide") == ["iden"]
    # What loops go over has the types that are said of it.
    declared = session.names.declared
    for path, kind in OF_LOOPS.items():
        owner, _, name = path.rpartition(".")
        members = declared.libraries.get(owner) or declared.types[owner]
        assert name in [member.name for member in members], path
        assert kind in declared.types, path
    assert "data" in found("inet:fqdn $lib.print($node.d")
    assert found("$lib.vie") == ["$lib.view"]
    assert "$lib.view.get(" in found("$lib.view.")
    assert found("\\view def") == ["default"]
    assert found("\\user ro") == ["root"]
    assert found("\\unset h") == ["host"]
    assert found("inet:fqdn:zone") == []
