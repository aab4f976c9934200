"""`wget`, `nodes.import` and `feed.list`: what comes in from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.commands.acting import doing, lib
from cellmesh.cortex.storm.outside.http_calls import HttpRequest, send
from cellmesh.cortex.storm.packed_nodes import Feeder, confirm_feeding, unpacked
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.values import toprim, tostr

if TYPE_CHECKING:
    from collections.abc import Callable

    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

HEADERS: Final = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/92.0.4515.131 Safari/537.36",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "Accept-Language": "en-US,en;q=0.9",
}
"""What `wget` sends: many servers answer browsers only."""

_OK: Final = 200


def _of_urls(
    name: str, fetch: Callable[[RunContext, Arguments, str], Iterator[Node]]
) -> Callable[[RunContext, Arguments, Iterator[Path]], Iterator[Path]]:
    """Make the generator of a command that gives nodes for URLs: those given, or the inet:url nodes that come in."""

    def run(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
        is_empty = True
        for path in rows:
            is_empty = False
            urls = [tostr(url) for url in arguments.urls or ()]
            if not urls:
                if path.node.form.name != "inet:url":
                    context.warn(f"{name} without arguments takes nodes of inet:url only")
                    continue
                urls = [tostr(path.node.value)]
            for url in urls:
                for node in fetch(context, arguments, url):
                    yield path.fork(node)
        if is_empty and arguments.is_constant:
            for url in arguments.urls or ():
                for node in fetch(context, arguments, tostr(url)):
                    yield Path(node, context.snapshot())

    return run


def _wget(context: RunContext, arguments: Arguments, url: str) -> Iterator[Node]:
    headers = None if arguments.no_headers else toprim(arguments.headers)
    if headers is not None and not isinstance(headers, dict):
        raise BadArg("--headers is a dictionary", name="headers")
    node: Any = lib(
        context,
        "axon.urlfile",
        url,
        headers=headers,
        params=toprim(arguments.params),
        ssl=not arguments.no_ssl_verify,
        timeout=arguments.timeout,
    )
    if node is not None:
        yield node


def _import(context: RunContext, arguments: Arguments, url: str) -> Iterator[Node]:
    confirm_feeding(context)
    context.session.pause()
    answer = send(HttpRequest("GET", url, verifies=not arguments.no_ssl_verify))
    context.tick()
    if answer.code != _OK:
        context.warn(f"nodes.import got HTTP error code: {answer.code} for {url}", code=answer.code, url=url)
        return
    yield from Feeder(context).add_all(unpacked((answer.body,), url))


def _list(context: RunContext, arguments: Arguments) -> None:
    context.print("Storm feed list:")
    for feed in lib(context, "feed.list"):
        context.print(f"    ({feed['name']:<30}): {feed['desc']}")


_URLS: Final = ArgumentSpec(("urls",), "The URLs.", count="*", default=())
_NO_VERIFY: Final = ArgumentSpec(
    ("--no-ssl-verify",), "Do not check the server's certificate.", action="store_true"
)

COMMANDS: Final = (
    CommandSpec("feed.list", "List the kinds of feeds.", doing(_list)),
    CommandSpec(
        "nodes.import",
        """Add the packed nodes that URLs answer with, as exports have them.

            nodes.import https://vertex.link/feed.nodes
        """,
        _of_urls("nodes.import", _import),
        (_URLS, _NO_VERIFY),
        changes_state=True,
    ),
    CommandSpec(
        "wget",
        """Have the Axon keep what URLs answer, and give the inet:urlfile nodes that tell of it.

            wget https://vertex.link/robots.txt
            inet:url^=https://vertex.link | wget
        """,
        _of_urls("wget", _wget),
        (
            _URLS,
            _NO_VERIFY,
            ArgumentSpec(("--timeout",), "Seconds for one URL.", type="int", default=300),
            ArgumentSpec(("--params",), "Parameters for the URLs: a dictionary.", type="any"),
            ArgumentSpec(("--headers",), "Headers to send: a dictionary.", type="any", default=HEADERS),
            ArgumentSpec(("--no-headers",), "Send no headers but what HTTP asks for.", action="store_true"),
        ),
        changes_state=True,
    ),
)
