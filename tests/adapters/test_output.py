"""RUN-2: bounded, ordered entries with backpressure; nothing lost, whatever the bytes."""

from __future__ import annotations

import random
import sys
from typing import Any

import anyio
import pytest

from contracts.limits import LOG_ENTRY_BYTES_MAX
from contracts.outcomes import Outcome
from orch.adapters.output import Splitter, Spool

pytestmark = pytest.mark.req("RUN-2")


@pytest.mark.parametrize("seed", range(20))
def test_any_cut_of_any_bytes_gives_the_same_text_in_bounded_entries(seed: int) -> None:
    chance = random.Random(seed)
    pieces = [b"line\n", "ünï→𝄞".encode(), b"\xff\xfe\xc3", b"x" * 300, b"\r\n", b"\0"]
    data = b"".join(chance.choice(pieces) for _ in range(400))
    splitter, entries, rest = Splitter(bytes_max=256), [], data
    while rest:
        size = chance.randrange(1, 700)
        entries += splitter.feed(rest[:size])
        if chance.random() < 0.1:
            entries += splitter.ripe()
        rest = rest[size:]
    entries += splitter.rest()
    assert "".join(entries) == data.decode("utf-8", "replace")
    assert all(0 < len(entry.encode()) <= 256 for entry in entries)


def test_entries_end_at_line_ends_where_they_can() -> None:
    splitter = Splitter(bytes_max=16)
    assert splitter.feed(b"first\nsecond\nthird line\n") == ["first\nsecond\n"]
    assert splitter.ripe() == ["third line\n"]
    assert splitter.feed(b"done\nhalf") == []
    assert (splitter.ripe(), splitter.ripe(), splitter.ripe()) == (["done\n"], ["half"], [])


def test_a_spool_keeps_its_bound_and_says_so(tmp_path: Any) -> None:
    spool = Spool(tmp_path, bytes_max=10)
    spool.write(b"12345678")
    assert not spool.truncated
    spool.write(b"90abc")
    assert (spool.bytes, spool.truncated) == (10, True)
    spool.close()


async def test_a_hundred_megabytes_without_a_newline_are_survived(bench: Any) -> None:
    ending = await bench.shell("head -c 100000000 /dev/zero | tr '\\0' x")
    assert ending.outcome is Outcome.DONE
    texts = [text for _, text in bench.desk.entries]
    assert sum(map(len, texts)) == 100_000_000
    assert max(map(len, texts)) <= LOG_ENTRY_BYTES_MAX
    stored = ending.result["output"]
    assert (stored["bytes"], stored["truncated"]) == (100_000_000, False)
    assert bench.desk.events() == ["output_stored"]
    assert (await bench.blobs.verify(stored["sha256"])).bytes == 100_000_000


async def test_invalid_utf_8_is_replaced_in_the_text_and_kept_in_the_blob(bench: Any) -> None:
    source = "import sys; sys.stdout.buffer.write(b'a\\xff\\xfe\\xc3(' * 20000 + b'\\xf0\\x9d')"
    ending = await bench.run("command", argv=[sys.executable, "-c", source])
    raw = b"a\xff\xfe\xc3(" * 20_000 + b"\xf0\x9d"
    assert bench.desk.text() == raw.decode("utf-8", "replace")
    assert all(len(text.encode()) <= LOG_ENTRY_BYTES_MAX for _, text in bench.desk.entries)
    assert bench.blobs.path(ending.result["output"]["sha256"]).read_bytes() == raw


async def test_a_failure_keeps_its_whole_output_too(bench: Any) -> None:
    ending = await bench.shell("head -c 70000 /dev/zero | tr '\\0' x; exit 1")
    assert ending.outcome is Outcome.LOGIC
    assert bench.desk.notes[0].payload["bytes"] == 70_000


async def test_small_output_needs_no_blob(bench: Any) -> None:
    ending = await bench.shell("echo out; echo err >&2")
    assert ending.result == {"exit_code": 0}
    assert sorted(bench.desk.entries) == [("stderr", "err\n"), ("stdout", "out\n")]


async def test_a_viewer_sees_a_line_while_the_agent_still_runs(bench: Any, tmp_path: Any) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(
            bench.shell, f"printf 'half a line'; while ! [ -e {tmp_path}/go ]; do sleep 0.02; done"
        )
        await bench.until(lambda: bench.desk.text() == "half a line", within_s=2)
        (tmp_path / "go").touch()


async def test_a_chatty_agent_does_not_make_an_entry_per_line(bench: Any) -> None:
    await bench.shell("seq 1 5000")
    assert bench.desk.text() == "".join(f"{n}\n" for n in range(1, 5001))
    assert len(bench.desk.entries) < 50


async def test_a_slow_store_makes_the_agent_wait(bench: Any, tmp_path: Any) -> None:
    gate = anyio.Event()

    class Slow:
        note, artifact, pause_wished = bench.desk.note, bench.desk.artifact, bench.desk.pause_wished

        async def output(self, stream: Any, text: str) -> None:
            await gate.wait()
            await bench.desk.output(stream, text)

    script = f"head -c 1000000 /dev/zero; touch {tmp_path}/written"
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: bench.run("command", argv=["sh", "-c", script], desk=Slow()))
        with anyio.move_on_after(0.3):
            await bench.until((tmp_path / "written").exists)
        assert not (tmp_path / "written").exists()
        gate.set()
    assert (tmp_path / "written").exists()
    assert len(bench.desk.text()) == 1_000_000
