"""`$lib.axon`, and the functions of `$lib.bytes` about contents: what the Axon keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urljoin, urlsplit

from cellmesh.common.errors import BadArg, NoSuchForm
from cellmesh.cortex.storm.library.http import HEADERS, JSON, PARAMS, PROXY, TLS, URL, pairs
from cellmesh.cortex.storm.outside.axon_files import axon_of
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

READ_SIZE_MAX: Final = 1 << 30
"""Bytes that one call reads into a query."""

SHA256_SIZE: Final = 32


def read_sha256(value: Any) -> bytes:
    """Return the SHA-256 that a value tells, as bytes; raises BadArg."""
    text = value.hex() if isinstance(value, bytes) else tostr(value)
    try:
        found = bytes.fromhex(text.removeprefix("sha256:"))
    except ValueError:
        found = b""
    if len(found) != SHA256_SIZE:
        raise BadArg(f"{text[:80]} is no SHA-256", name="sha256", valu=text[:80])
    return found


def _bytes(value: Any, name: str = "byts") -> bytes:
    if not isinstance(value, bytes):
        raise BadArg(f"{name} are bytes, not a {type(value).__name__}", name=name)
    return value


def _put(context: RunContext, data: Any) -> tuple[int, str]:
    context.check_writable()
    size, sha256 = axon_of(context).put(_bytes(data))
    return size, sha256.hex()


def _upload(context: RunContext, parts: Any) -> tuple[int, str]:
    context.check_writable()
    size, sha256 = axon_of(context).upload(_bytes(part, "genr") for part in toiter(context, parts))
    return size, sha256.hex()


def _has(context: RunContext, sha256: Any) -> Any:
    return axon_of(context).has(read_sha256(sha256))


def _size(context: RunContext, sha256: Any) -> Any:
    return axon_of(context).size(read_sha256(sha256))


def _hashset(context: RunContext, sha256: Any) -> Any:
    return axon_of(context).hashes(read_sha256(sha256))


OFFSET_MAX: Final = (1 << 63) - 1
"""The largest place in a content that an Axon can be asked for."""


def _read(context: RunContext, sha256: Any, offset: Any, size: Any) -> bytes:
    count = toint(size)
    if not 0 < count <= READ_SIZE_MAX:
        raise BadArg(f"size is 1 to {READ_SIZE_MAX}", name="size")
    return b"".join(axon_of(context).read(read_sha256(sha256), _offset(offset), count))


def _offset(value: Any) -> int:
    offset = toint(value)
    if offset < 0:
        raise BadArg("offs is not negative", name="offs")
    # Beyond what a place in a content can be: nothing is there, as behind the end.
    return min(offset, OFFSET_MAX)


def _each(context: RunContext, items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        context.tick()
        yield item


def _lines(context: RunContext, sha256: Any, errors: Any) -> Iterator[str]:
    return _each(context, axon_of(context).lines(read_sha256(sha256), tostr(errors)))


def _json_lines(context: RunContext, sha256: Any, errors: Any) -> Iterator[Any]:
    return _each(context, axon_of(context).json_lines(read_sha256(sha256), tostr(errors)))


def _csv_rows(
    context: RunContext, sha256: Any, dialect: Any, errors: Any, options: dict[str, Any]
) -> Iterator[list[Any]]:
    return _each(
        context,
        axon_of(context).csv_rows(read_sha256(sha256), tostr(dialect), tostr(errors), toprim(options)),
    )


def _unpack(context: RunContext, sha256: Any, form: Any, offset: Any) -> Any:
    return axon_of(context).unpack(read_sha256(sha256), tostr(form), _offset(offset))


def _list(context: RunContext, offset: Any, wait: Any, timeout: Any) -> Iterator[tuple[int, str, int]]:
    limit = None if timeout is None else float(toint(timeout))
    for place, sha256, size in axon_of(context).listed(_offset(offset), waits=tobool(wait), timeout_s=limit):
        context.tick()
        yield place, sha256.hex(), size


def _metrics(context: RunContext) -> Any:
    return axon_of(context).metrics()


def _del(context: RunContext, sha256: Any) -> Any:
    return axon_of(context).remove([read_sha256(sha256)])[0]


def _dels(context: RunContext, sha256s: Any) -> Any:
    if sha256s is None or isinstance(sha256s, int):
        raise BadArg("sha256s is a list", name="sha256s")
    return axon_of(context).remove([read_sha256(one) for one in toiter(context, sha256s)])


# The web.


def _options(
    headers: Any, params: Any, method: Any, verifies: Any, timeout: Any, proxy: Any, tls: Any
) -> Any:
    # Only who has an Axon needs its messages.
    from cellmesh.api.axon.v1 import web_pb2

    given = toprim(tls) or {}
    if not isinstance(given, dict) or given.keys() - {"verify", "client_cert", "client_key", "ca_cert"}:
        raise BadArg("ssl_opts has verify, client_cert, client_key and ca_cert", name="ssl_opts")
    options = web_pb2.WebOptions(
        headers=[web_pb2.WebField(name=name, value=value) for name, value in pairs(headers, "headers")],
        params=[web_pb2.WebField(name=name, value=value) for name, value in pairs(params, "params")],
        method=tostr(method).upper(),
        verify_tls=tobool(given.get("verify", tobool(verifies))),
        client_cert=given.get("client_cert") or "",
        client_key=given.get("client_key") or "",
        ca_cert=given.get("ca_cert") or "",
    )
    if timeout is not None:
        options.timeout.FromSeconds(toint(timeout))
    if isinstance(proxy, str):
        options.proxy = proxy
    elif proxy is None or not tobool(proxy):
        options.proxy = ""
    return options


def _wget(
    context: RunContext,
    url: Any,
    headers: Any,
    params: Any,
    method: Any,
    json_body: Any,
    body: Any,
    verifies: Any,
    timeout: Any,
    proxy: Any,
    tls: Any,
) -> Any:
    context.check_writable()
    options = _options(headers, params, method, verifies, timeout, proxy, tls)
    data = None
    if body is not None:
        data = body if isinstance(body, bytes) else tostr(body).encode()
    return axon_of(context).fetch(tostr(url), options, data, toprim(json_body))


def _wput(
    context: RunContext,
    sha256: Any,
    url: Any,
    headers: Any,
    params: Any,
    method: Any,
    verifies: Any,
    timeout: Any,
    proxy: Any,
    tls: Any,
) -> Any:
    options = _options(headers, params, method, verifies, timeout, proxy, tls)
    return axon_of(context).send(read_sha256(sha256), tostr(url), options)


def _url_file(context: RunContext, *arguments: Any) -> Any:
    """Fetch a URL and make the nodes that tell of it."""
    found = _wget(context, *arguments)
    code, reason = found.get("code", -1), found.get("reason", "")
    if not found.get("ok") or code != _OK_CODE:
        context.warn(f"HTTP code {code}: {reason}", code=code, url=found.get("url"))
        return None
    session, hashes = context.session, found["hashes"]
    file = _node(context, "file:bytes", hashes["sha256"])
    session.set_prop(file, "size", found["size"])
    for name in ("md5", "sha1", "sha256"):
        session.set_prop(file, name, hashes[name])
    session.set_prop(file, ".seen", "now")
    asked = found.get("original_url") or found["url"]
    name = next((part for part in reversed(urlsplit(asked).path.split("/")) if part), "")
    if name and file.get("name") is None:
        session.set_prop(file, "name", unquote(name))
    made = [_node(context, "inet:urlfile", (url, file.value)) for url in dict.fromkeys((asked, found["url"]))]
    for node in made:
        session.set_prop(node, ".seen", "now")
    for answer in found.get("history") or ():
        target = _redirected(answer)
        if target:
            session.set_prop(_node(context, "inet:urlredir", (answer["url"], target)), ".seen", "now")
    return made[0]


def _node(context: RunContext, name: str, value: Any) -> Node:
    form = context.model.form(name)
    if form is None:
        raise NoSuchForm(f"the model has no form {name}", name=name)
    return context.session.add_node(form, form.type.norm(value))


_OK_CODE: Final = 200


def _redirected(answer: dict[str, Any]) -> str | None:
    headers = {name.lower(): value for name, value in dict(answer.get("headers") or {}).items()}
    return urljoin(answer["url"], headers["location"]) if "location" in headers else None


_SHA256: Final = ParameterSpec("sha256", type="str", doc="The SHA-256 of the content.")
_DATA: Final = ParameterSpec("byts", type="bytes", doc="The content.")
_PARTS: Final = ParameterSpec("genr", type="generator", doc="The parts of the content.")
_ERRORS: Final = ParameterSpec("errors", "ignore", "str", "What is done with bytes that are no text.")
_OFFSET: Final = ParameterSpec("offs", 0, "int", "Where to begin, in bytes.")
_VERIFY: Final = ParameterSpec("ssl", True, "bool", "Check the server's certificate.")
_TIMEOUT: Final = ParameterSpec("timeout", None, "int", "Seconds for all of it.")
_FETCHED: Final = (
    URL,
    HEADERS,
    PARAMS,
    ParameterSpec("method", "GET", "str", "The method."),
    JSON,
    ParameterSpec("body", None, "bytes", "A body."),
    _VERIFY,
    _TIMEOUT,
    PROXY,
    TLS,
)

_ASKED: Final = (
    FunctionSpec("has", "Whether a content is there.", _has, (_SHA256,), "bool"),
    FunctionSpec("hashset", "Its MD5, SHA-1, SHA-256 and SHA-512.", _hashset, (_SHA256,), "dict"),
    FunctionSpec(
        "put", "Store a content; gives its size and SHA-256.", _put, (_DATA,), "list", changes_state=True
    ),
    FunctionSpec("size", "Its size in bytes; null if it is not there.", _size, (_SHA256,), "int"),
    FunctionSpec(
        "upload",
        "Store a content that comes in parts; gives its size and SHA-256.",
        _upload,
        (_PARTS,),
        "list",
        changes_state=True,
    ),
)

LIBRARIES: Final = (
    LibrarySpec(
        ("axon",),
        "Contents that the Axon keeps.",
        (
            *_ASKED,
            FunctionSpec(
                "csvrows",
                "The rows of a CSV text; further named arguments are those of Python's csv module.",
                _csv_rows,
                (_SHA256, ParameterSpec("dialect", "excel", "str", "excel, excel-tab or unix."), _ERRORS),
                "lists",
                is_generator=True,
                keywords="fmtparams",
            ),
            FunctionSpec(
                "del",
                "Delete a content; gives whether it was there.",
                _del,
                (_SHA256,),
                "bool",
                changes_state=True,
            ),
            FunctionSpec(
                "dels",
                "Delete contents; gives for each whether it was there.",
                _dels,
                (ParameterSpec("sha256s", type="list", doc="Their SHA-256s."),),
                "list",
                changes_state=True,
            ),
            FunctionSpec(
                "jsonlines",
                "The values of a text with a JSON value a line.",
                _json_lines,
                (_SHA256, _ERRORS),
                "prims",
                is_generator=True,
            ),
            FunctionSpec(
                "list",
                "Offset, SHA-256 and size of what is stored, in order of arrival.",
                _list,
                (
                    ParameterSpec("offs", 0, "int", "The first offset wanted."),
                    ParameterSpec("wait", False, "bool", "Go on with what comes later."),
                    ParameterSpec("timeout", None, "int", "End when nothing has come for so many seconds."),
                ),
                "lists",
                is_generator=True,
            ),
            FunctionSpec("metrics", "How much is stored.", _metrics, (), "dict"),
            FunctionSpec(
                "read",
                "A part of a content.",
                _read,
                (_SHA256, _OFFSET, ParameterSpec("size", 1 << 20, "int", "The most bytes wanted.")),
                "bytes",
            ),
            FunctionSpec(
                "readlines", "The lines of a text.", _lines, (_SHA256, _ERRORS), "strs", is_generator=True
            ),
            FunctionSpec(
                "unpack",
                "The fields of a fixed structure in a content.",
                _unpack,
                (
                    _SHA256,
                    ParameterSpec("fmt", type="str", doc="The structure, as Python's struct has it."),
                    _OFFSET,
                ),
                "list",
            ),
            FunctionSpec(
                "urlfile",
                "Store what a URL answers, and make the inet:urlfile that tells of it; null if it does not answer well.",
                _url_file,
                _FETCHED,
                "node",
                changes_state=True,
            ),
            FunctionSpec(
                "wget",
                "Store what a URL answers; gives what came of it.",
                _wget,
                _FETCHED,
                "dict",
                changes_state=True,
            ),
            FunctionSpec(
                "wput",
                "Send a content to a URL; gives what came of it.",
                _wput,
                (
                    _SHA256,
                    URL,
                    HEADERS,
                    PARAMS,
                    ParameterSpec("method", "PUT", "str", "The method."),
                    _VERIFY,
                    _TIMEOUT,
                    PROXY,
                    TLS,
                ),
                "dict",
            ),
        ),
    ),
    LibrarySpec(("bytes",), "Bytes, and contents that the Axon keeps.", _ASKED),
)
