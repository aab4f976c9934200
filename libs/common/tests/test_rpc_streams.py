"""Worker threads, and blocking generators as async streams: batches, back pressure, cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
from cellmesh.common.errors import BadArg, Cancelled, ShuttingDown
from cellmesh.common.rpc.streams import BATCH_COUNT_MAX, FLUSH, READY_COUNT_MAX, CancelToken
from cellmesh.common.rpc.workers import ThreadPool, Workers

T = TypeVar("T")


def drive(body: Callable[[Workers], Awaitable[T]], **limits: int) -> T:
    """Run a test body in a fresh loop with fresh workers, and check that their threads end."""

    async def main() -> T:
        workers = Workers(**limits)
        try:
            return await asyncio.wait_for(body(workers), 10)
        finally:
            assert await workers.close()

    return asyncio.run(main())


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait for a condition in the running loop."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        await asyncio.sleep(0.002)


def test_run_returns_the_result_from_another_thread() -> None:
    async def body(workers: Workers) -> None:
        name = await workers.run(lambda: threading.current_thread().name)
        assert name.startswith("call-")

    drive(body)


def test_run_raises_what_the_function_raises() -> None:
    def fail() -> None:
        raise BadArg("no", name="x")

    async def body(workers: Workers) -> None:
        with pytest.raises(BadArg) as caught:
            await workers.run(fail)
        assert caught.value.get("name") == "x"

    drive(body)


def test_run_sees_the_callers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def body(workers: Workers) -> None:
        variable.set("mine")
        assert await workers.run(variable.get) == "mine"

    drive(body)


def test_long_work_hears_that_nobody_waits() -> None:
    ended = threading.Event()

    def work(token: CancelToken) -> None:
        assert token.wait(5)
        ended.set()

    async def body(workers: Workers) -> None:
        assert await workers.run_long(lambda token: token.cancelled) is False
        task = asyncio.ensure_future(workers.run_long(work))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        await until(ended.is_set)

    drive(body)


def test_more_calls_than_threads_wait_their_turn() -> None:
    active = [0, 0]
    lock = threading.Lock()

    def work() -> None:
        with lock:
            active[0] += 1
            active[1] = max(active)
        time.sleep(0.01)
        with lock:
            active[0] -= 1

    async def body(workers: Workers) -> None:
        await asyncio.gather(*(workers.run(work) for _ in range(12)))
        assert active == [0, 3]

    drive(body, call_threads=3)


def test_idle_threads_are_used_again() -> None:
    async def body(workers: Workers) -> None:
        names = {await workers.run(lambda: threading.current_thread().name) for _ in range(50)}
        # A thread counts itself free a moment after its answer is there, so another one may be started.
        assert len(names) <= 4

    drive(body)


def test_a_closed_pool_takes_no_work() -> None:
    pool = ThreadPool("trial", 2)
    assert pool.close()
    with pytest.raises(ShuttingDown):
        pool.submit(lambda: None)


async def collect(
    workers: Workers, items: Callable[[CancelToken], Iterator[Any]], **options: Any
) -> list[list[Any]]:
    options.setdefault("pack", list)
    return [batch async for batch in workers.stream(items, **options)]


def test_items_arrive_once_and_in_order() -> None:
    async def body(workers: Workers) -> None:
        batches = await collect(workers, lambda token: iter(range(50_000)))
        assert [item for batch in batches for item in batch] == list(range(50_000))

    drive(body)


def test_the_first_item_leaves_alone_and_batches_grow_to_the_bound() -> None:
    async def body(workers: Workers) -> None:
        sizes = [
            len(batch) for batch in await collect(workers, lambda token: iter(range(20_000)), flush_s=5.0)
        ]
        assert sizes[:4] == [1, 4, 16, 64]
        assert max(sizes) == BATCH_COUNT_MAX
        assert set(sizes[4:-1]) == {BATCH_COUNT_MAX}

    drive(body)


def test_a_small_answer_is_one_message_known_to_be_the_last() -> None:
    async def body(workers: Workers) -> None:
        written: list[list[int]] = []

        async def write(batch: list[int]) -> None:
            written.append(batch)

        small = workers.stream(lambda token: iter(range(5)), pack=list, count_first=32, flush_s=5.0)
        assert await small.write_to(write) == [0, 1, 2, 3, 4]
        assert written == []
        large = workers.stream(lambda token: iter(range(100)), pack=list, count_first=32, flush_s=5.0)
        assert await large.write_to(write) == list(range(32, 100))
        assert written == [list(range(32))]
        assert await workers.stream(lambda token: iter(()), pack=list).write_to(write) is None

    drive(body)


def test_what_came_before_an_error_is_written_before_it_is_raised() -> None:
    def items(token: CancelToken) -> Iterator[int]:
        yield from range(3)
        raise BadArg("no", name="x")

    async def body(workers: Workers) -> None:
        written: list[list[int]] = []

        async def write(batch: list[int]) -> None:
            written.append(batch)

        with pytest.raises(BadArg):
            await workers.stream(items, pack=list, count_first=32).write_to(write)
        assert written == [[0, 1, 2]]

    drive(body)


def test_a_thread_that_is_quicker_than_the_loop_is_no_trouble() -> None:
    """The thread may settle what the loop is about to wait for before the loop waits."""
    interval_s = sys.getswitchinterval()

    async def body(workers: Workers) -> None:
        async def reader() -> None:
            for _ in range(150):
                assert await collect(workers, lambda token: iter((1, 2, 3)), count_first=8) == [[1, 2, 3]]

        await asyncio.gather(*(reader() for _ in range(16)))

    sys.setswitchinterval(1e-6)
    try:
        drive(body)
    finally:
        sys.setswitchinterval(interval_s)


def test_batches_end_at_the_size_bound() -> None:
    async def body(workers: Workers) -> None:
        batches = await collect(
            workers, lambda token: iter([b"x" * 1000] * 5000), size_of=len, size_max_bytes=70_000, flush_s=5.0
        )
        sizes = [sum(map(len, batch)) for batch in batches]
        assert sum(sizes) == 5_000_000
        assert max(sizes) <= 71_000

    drive(body)


def test_an_empty_generator_ends_the_stream() -> None:
    async def body(workers: Workers) -> None:
        assert await collect(workers, lambda token: iter(())) == []

    drive(body)


def test_items_do_not_wait_for_a_slow_generator() -> None:
    """Items before a pause are there long before the pause ends."""

    def items(token: CancelToken) -> Iterator[int]:
        yield from range(7)
        token.wait(2.0)
        yield 7

    async def body(workers: Workers) -> None:
        began = time.monotonic()
        stream = workers.stream(items, pack=list)
        seen: list[int] = []
        while len(seen) < 7:
            seen += await anext(stream)
        assert seen == list(range(7))
        assert time.monotonic() - began < 1.0
        stream.close()

    drive(body)


def test_a_slow_generator_sends_each_item_when_it_is_there() -> None:
    gaps: list[float] = []

    def items(token: CancelToken) -> Iterator[float]:
        for _ in range(5):
            time.sleep(0.03)
            yield time.monotonic()

    async def body(workers: Workers) -> None:
        async for batch in workers.stream(items, pack=list):
            gaps.extend(time.monotonic() - made for made in batch)
        assert len(gaps) == 5
        assert max(gaps) < 0.025

    drive(body)


def test_flush_sends_what_is_there() -> None:
    def items(token: CancelToken) -> Iterator[Any]:
        yield 0
        yield 1
        yield 2
        yield FLUSH
        yield 3

    async def body(workers: Workers) -> None:
        assert await collect(workers, items, flush_s=5.0) == [[0], [1, 2], [3]]

    drive(body)


def test_an_error_comes_after_the_items_before_it() -> None:
    def items(token: CancelToken) -> Iterator[int]:
        yield from range(10)
        raise BadArg("no more", name="x")

    async def body(workers: Workers) -> None:
        seen: list[int] = []

        async def read() -> None:
            async for batch in workers.stream(items, pack=list):
                seen.extend(batch)

        with pytest.raises(BadArg, match="no more"):
            await read()
        assert seen == list(range(10))

    drive(body)


def test_an_error_before_the_first_item_is_raised() -> None:
    def items(token: CancelToken) -> Iterator[int]:
        raise BadArg("at once")

    async def body(workers: Workers) -> None:
        with pytest.raises(BadArg, match="at once"):
            await collect(workers, items)

    drive(body)


def test_a_slow_reader_stops_the_generator_and_storage_is_let_go() -> None:
    made = [0]
    blocked = threading.Event()

    def items(token: CancelToken) -> Iterator[int]:
        while True:
            made[0] += 1
            yield made[0]

    async def body(workers: Workers) -> None:
        stream = workers.stream(items, pack=list, count_max=10, on_block=blocked.set)
        await anext(stream)
        await until(blocked.is_set)
        await asyncio.sleep(0.05)
        held = made[0]
        assert held <= 10 * (READY_COUNT_MAX + 3)
        await asyncio.sleep(0.05)
        assert made[0] == held
        await anext(stream)
        await until(lambda: made[0] > held)
        stream.close()

    drive(body)


@pytest.mark.parametrize("how", ["close", "drop", "cancel"])
def test_the_generator_is_closed_on_its_own_thread_when_nobody_waits(how: str) -> None:
    closed: list[str] = []

    def items(token: CancelToken) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.current_thread().name)

    async def body(workers: Workers) -> None:
        stream = workers.stream(items, pack=list)
        await anext(stream)
        match how:
            case "close":
                stream.close()
            case "drop":
                del stream
                gc.collect()
            case _:

                async def read_all(stream: Any) -> None:
                    async for _ in stream:
                        await asyncio.sleep(1)

                task = asyncio.create_task(read_all(stream))
                del stream
                await asyncio.sleep(0.02)
                task.cancel()
                await asyncio.wait([task])
                del task
        await until(lambda: bool(closed))
        assert closed[0].startswith("stream-")

    drive(body)


def test_check_ends_work_that_yields_nothing() -> None:
    ended = threading.Event()

    def items(token: CancelToken) -> Iterator[int]:
        try:
            while True:
                token.check()
                time.sleep(0.001)
        except Cancelled:
            ended.set()
            raise
        yield 0

    async def body(workers: Workers) -> None:
        stream = workers.stream(items, pack=list)
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        stream.close()
        await until(ended.is_set)

    drive(body)


def test_a_stream_that_is_never_read_starts_no_work() -> None:
    started = threading.Event()

    def items(token: CancelToken) -> Iterator[int]:
        started.set()
        yield 1

    async def body(workers: Workers) -> None:
        workers.stream(items, pack=list)
        await asyncio.sleep(0.02)
        assert not started.is_set()

    drive(body)


def test_many_streams_share_few_threads() -> None:
    async def body(workers: Workers) -> None:
        found = await asyncio.gather(*(collect(workers, lambda token: iter(range(500))) for _ in range(40)))
        assert all([item for batch in batches for item in batch] == list(range(500)) for batches in found)

    drive(body, stream_threads=4)


def test_a_full_stream_of_small_items_is_fast() -> None:
    """A guard against a hand-over an item: 200 thousand items take seconds then; here a fraction of one."""

    async def body(workers: Workers) -> None:
        began = time.perf_counter()
        count = 0
        async for batch in workers.stream(
            lambda token: iter([b"12345678"] * 200_000), pack=list, size_of=len
        ):
            count += len(batch)
        assert count == 200_000
        assert time.perf_counter() - began < 3.0

    drive(body)
