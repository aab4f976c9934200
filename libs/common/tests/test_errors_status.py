"""Errors over the wire: the same class with the same fields, whatever they hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import grpc
import grpc.aio
import pytest
from cellmesh.api.common.v1 import errors_pb2
from cellmesh.common import errors
from cellmesh.common.errors import status as status_module
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

METHOD = "/test.Fail/Fail"
FIELDS: dict[str, Any] = {
    "name": "inet:ipv4",
    "valu": [1, 2**80, -1.5, Decimal("1.50"), b"\x00\xff", None, True, {"a": {5: "b"}}],
    "zz": "kept after valu",
    "aa": "kept last",
}

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.binary(max_size=20)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("cls", errors.ALL_ERRORS)
def test_every_class_comes_back_as_itself(cls: type[errors.CellError]) -> None:
    error = cls("what happened", hint="what to do", **FIELDS)
    again = errors.from_status(errors.to_status(error))
    assert type(again) is cls
    assert again.errinfo == error.errinfo
    assert str(again) == str(error)


@given(st.dictionaries(st.sampled_from(["name", "valu", "at", "länge"]), plain))
def test_small_fields_of_any_kind_are_lossless_and_in_order(fields: dict[str, Any]) -> None:
    again = errors.from_status(errors.to_status(errors.BadTypeValu("m", **fields)))
    assert [item for item in again.items() if item[0] != "mesg"] == list(fields.items())


def test_a_stock_client_reads_reason_and_fields_from_error_info() -> None:
    status = errors.to_status(errors.NoSuchForm("no form of this name", name="inet:foo", at=3))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("ERROR_REASON_NO_SUCH_FORM", "cellmesh")
    assert dict(info.metadata) == {"name": "inet:foo", "at": "3"}
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert status.message == "no form of this name (name='inet:foo', at=3)"


@pytest.mark.parametrize(
    "fields",
    [
        {"valu": "ü" * 1_000_000, "name": "n"},
        {f"field{number}": "x" * 100 for number in range(500)},
        {"valu": list(range(100_000)), "name": "n"},
        {"k" * 100_000: "v", "name": "n"},
        {"valu": 10**3000, "name": "n", "hint": "ü" * 5000},
    ],
)
def test_a_status_always_fits_the_metadata_and_names_what_was_cut(fields: dict[str, Any]) -> None:
    code, text, metadata = errors.to_abort(errors.BadTypeValu("ü" * 5000, **fields))
    size = len(text.encode()) * 3 + sum(len(key) + len(value) * 4 // 3 for key, value in metadata)
    assert size < 8000
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    status = status_pb2.Status.FromString(metadata[0][1])
    again = errors.from_status(status)
    assert type(again) is errors.BadTypeValu
    if "valu" in fields and not isinstance(fields["valu"], int):
        assert again.get("cut_fields") == ["valu"]
        assert again.get("name") == "n"


def test_details_in_streams_are_whole() -> None:
    error = errors.BadTypeValu("bad", valu="x" * 100_000)
    assert errors.from_detail(errors.to_detail(error)).get("valu") == "x" * 100_000


def test_lone_surrogates_and_objects_in_fields_do_not_stop_an_error() -> None:
    again = errors.from_status(errors.to_status(errors.BadArg("a\ud800", valu="\ud800", o=object(), s={1})))
    assert again.get("mesg") == "a\\ud800"
    assert again.get("valu") == "\\ud800"
    assert again.get("o") == "<object>"
    assert again.get("s") == [1]


def test_unknown_reason_falls_back_on_the_code_and_keeps_the_facts() -> None:
    detail = errors_pb2.ErrorDetail(reason=99999, name="FromTheFuture", message="m")  # type: ignore[arg-type]
    detail.fields.entries.add(key="name").value.string_value = "n"
    status = status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0], message="m")
    info = error_details_pb2.ErrorInfo(reason="ERROR_REASON_FROM_THE_FUTURE", domain="cellmesh")
    for part in (info, detail):
        packed = any_pb2.Any()
        packed.Pack(part)
        status.details.append(packed)
    again = errors.from_status(status)
    assert type(again) is errors.NoSuchObj
    assert again.get("errname") == "FromTheFuture"
    assert again.get("reason") == "ERROR_REASON_FROM_THE_FUTURE"
    assert again.get("name") == "n"


def test_reasons_of_other_domains_are_not_ours() -> None:
    status = status_pb2.Status(code=grpc.StatusCode.PERMISSION_DENIED.value[0], message="m")
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason="ERROR_REASON_NO_SUCH_FORM", domain="elsewhere.example"))
    status.details.append(packed)
    assert type(errors.from_status(status)) is errors.AuthDeny


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        (KeyError("/secret/path"), errors.Internal),
        (FileNotFoundError(2, "gone", "/secret/path"), errors.Internal),
        (OSError(28, "no space", "/secret/path"), errors.StorageFull),
        (TimeoutError(), errors.TimeOut),
        (asyncio.CancelledError(), errors.Cancelled),
        (RecursionError("deep"), errors.RecursionLimitHit),
        (grpc.RpcError(), errors.Internal),
    ],
)
def test_unexpected_exceptions_tell_their_kind_and_no_more(
    error: BaseException, cls: type[errors.CellError]
) -> None:
    status = errors.to_status(error)
    assert b"secret" not in status.SerializeToString()
    assert type(errors.from_status(status)) is cls


def test_internal_names_the_kind() -> None:
    assert errors.from_exception(KeyError("x")).get("type") == "KeyError"


class _Failing(grpc.GenericRpcHandler):
    """Answers every call with the error it was made with."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
            code, text, metadata = errors.to_abort(self.error)
            context.set_trailing_metadata(metadata)
            context.abort(code, text)
            raise AssertionError

        return grpc.unary_unary_rpc_method_handler(fail)


@pytest.fixture
def failing() -> Iterator[tuple[_Failing, str]]:
    handler = _Failing(errors.NoSuchForm("kein Förm", hint="tü", **FIELDS))
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(None)


def test_blocking_client_raises_the_same_class(failing: tuple[_Failing, str]) -> None:
    handler, address = failing
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHOD)(b"")
    again = errors.from_rpc_error(caught.value)
    assert type(again) is errors.NoSuchForm
    assert again.errinfo == handler.error.errinfo  # type: ignore[attr-defined]


def test_largest_errors_pass_through_a_stock_channel(failing: tuple[_Failing, str]) -> None:
    handler, address = failing
    handler.error = errors.BadArg("ü" * 9999, hint="ü" * 9999, **{f"ü{n}": "ü" * 99 for n in range(99)})
    with grpc.insecure_channel(address) as channel:
        for _ in range(20):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(METHOD)(b"")
            assert type(errors.from_rpc_error(caught.value)) is errors.BadArg


def test_aio_client_raises_the_same_class(failing: tuple[_Failing, str]) -> None:
    handler, address = failing

    async def call() -> errors.CellError:
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(METHOD)(b"")
            return errors.from_rpc_error(caught.value)

    again = asyncio.run(call())
    assert type(again) is errors.NoSuchForm
    assert again.errinfo == handler.error.errinfo  # type: ignore[attr-defined]


@pytest.mark.parametrize("details", [b"\xff\xff", b"not a status"])
def test_details_that_do_not_read_leave_code_and_message(details: bytes) -> None:
    class Odd(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.NOT_FOUND

        def details(self) -> str:
            return "it is gone"

        def trailing_metadata(self) -> Any:
            return (("grpc-status-details-bin", details),)

    error = errors.from_rpc_error(Odd())
    assert type(error) is errors.NoSuchObj
    assert error.message == "it is gone"


def test_a_detail_with_broken_values_leaves_code_and_message() -> None:
    detail = errors_pb2.ErrorDetail(name="NoSuchForm", message="m")
    detail.fields.entries.add(key="valu").value.decimal_value = "no number"
    status = status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0], message="it is gone")
    status.details.add().Pack(detail)
    status.details.add(type_url=status.details[0].type_url, value=b"\xff\xff")
    assert type(errors.from_status(status)) is errors.NoSuchObj


def test_unreachable_cell_says_which_where_and_what_to_do() -> None:
    with grpc.insecure_channel("127.0.0.1:1") as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHOD)(b"", timeout=5)
    error = errors.from_rpc_error(caught.value, cell="axon", address="127.0.0.1:1")
    assert type(error) is errors.CellUnreachable
    assert str(error).startswith("cell axon cannot be reached at 127.0.0.1:1 (")
    assert error.hint


def test_plain_grpc_errors_are_known_by_code() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHOD)(b"", timeout=5)
    server.stop(None)
    assert type(errors.from_rpc_error(caught.value)) is errors.FeatureNotSupported


def test_bounds_of_a_status_add_up() -> None:
    worst = status_module.STATUS_MESSAGE_SIZE_MAX * 3
    details = (
        status_module.STATUS_MESSAGE_SIZE_MAX * 2
        + status_module.DETAIL_MESSAGE_SIZE_MAX
        + status_module.FIELDS_SIZE_MAX
        + status_module.METADATA_SIZE_MAX
    )
    assert worst + details * 4 // 3 < 8000
