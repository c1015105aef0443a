"""A job's event stream: its grammar, resuming, gaps, many watchers, bad days (EVT-2, EVT-3)."""

from __future__ import annotations

import anyio
import pytest

from actors.gateway.hub import OUTPUT_PAGE
from contracts.errors import ErrorCode, Refused
from contracts.record import Question
from tests.actors.gateway.house import QUICK, Frame, House, Reading, running, wait_until


def kinds(frames: list[Frame]) -> list[str]:
    return [frame.event for frame in frames]


def moves(frames: list[Frame]) -> list[str]:
    return [
        f.data["payload"]["to"] for f in frames if f.event == "status" and "to" in f.data["payload"]
    ]


async def _finished(house: House) -> str:
    job_id = await house.submit()
    house.store.claim(job_id)
    house.store.emit(job_id, "one", "two")
    house.store.settle(job_id, {"answer": 42})
    return job_id


@pytest.mark.req("EVT-2")
async def test_a_job_that_ended_before_the_stream_began_still_gets_the_whole_story() -> None:
    async with running() as house:
        job_id = await _finished(house)

        frames = await house.frames(job_id)

        assert kinds(frames) == ["started", *["status"] * 4, "log", "log", "end"]
        assert frames[0].data == {
            "job_id": job_id,
            "queue_position": None,
            "predicted_start_ms": None,
        }
        assert [f.data["seq"] for f in frames if f.event == "status"] == [1, 2, 3, 4]
        assert [f.data for f in frames if f.event == "log"] == [
            {"i": 1, "stream": "stdout", "text": "one"},
            {"i": 2, "stream": "stdout", "text": "two"},
        ]
        assert frames[-1].data == {
            "job_id": job_id,
            "state": "completed",
            "outcome": "done",
            "result": {"answer": 42},
        }


@pytest.mark.req("EVT-2")
async def test_a_stream_follows_a_living_job_to_its_end() -> None:
    async with running() as house:
        job_id = await house.submit()
        reading = Reading()
        house.tasks.start_soon(house.follow, job_id, reading)
        await wait_until(lambda: kinds(reading.frames) == ["started", "status"])
        assert reading.frames[0].data["queue_position"] == 0

        house.store.claim(job_id)
        house.store.emit(job_id, "hi")
        await wait_until(lambda: kinds(reading.frames)[-1] == "log")
        assert not reading.closed
        house.store.settle(job_id, "ok")
        await wait_until(lambda: reading.closed)

        assert moves(reading.frames) == ["queued", "ready", "running", "completed"]
        assert kinds(reading.frames).count("end") == 1
        assert reading.frames[-1].event == "end"


@pytest.mark.req("EVT-2")
async def test_failed_and_expired_jobs_end_with_error_and_canceled_ones_with_end() -> None:
    async with running() as house:
        failed, expired, canceled = [await house.submit() for _ in range(3)]
        house.store.claim(failed)
        house.store.fail(failed)
        house.store.expire(expired)
        await house.http.post(f"/v1/jobs/{canceled}/cancel")

        ends = [(await house.frames(job_id))[-1] for job_id in (failed, expired, canceled)]

        assert kinds(ends) == ["error", "error", "end"]
        assert ends[0].data == {
            "code": "JOB_FAILED",
            "message": "the job failed: logic, exit_code",
            "retriable": False,
            "retry_after_ms": None,
            "job_id": failed,
            "state": "failed",
            "outcome": "logic",
        }
        assert (ends[1].data["code"], ends[1].data["state"]) == ("JOB_EXPIRED", "expired")
        assert ends[2].data["state"] == "canceled"


@pytest.mark.req("EVT-2")
async def test_a_stream_resumed_after_any_frame_continues_with_the_next() -> None:
    async with running() as house:
        job_id = await _finished(house)
        whole = await house.frames(job_id)

        for place, frame in enumerate(whole):
            by_header = await house.frames(job_id, headers={"Last-Event-ID": frame.id})
            by_query = await house.frames(job_id, params={"after": frame.id})

            rest = whole[place + 1 :] or whole[-1:]  # past the terminal frame: it alone, again
            assert by_header == by_query == rest


@pytest.mark.req("EVT-2")
async def test_the_header_wins_over_the_query_and_an_empty_one_does_not() -> None:
    async with running() as house:
        job_id = await _finished(house)
        last = (await house.frames(job_id))[-1]
        path = f"/v1/jobs/{job_id}/events?after=0-0"

        resumed = await house.http.get(path, headers={"Last-Event-ID": last.id})
        fresh = await house.http.get(path, headers={"Last-Event-ID": ""})

        assert resumed.text.count("event: ") == 1
        assert fresh.text.count("event: ") == 7


@pytest.mark.req("EVT-2", "API-3")
@pytest.mark.parametrize(
    "cursor", ["x", "1", "1-", "-1-2", "1-2-3", "१-1", "1-2 ", "9" * 20 + "-1"]
)
async def test_an_id_that_was_never_ours_is_refused(cursor: str) -> None:
    async with running() as house:
        job_id = await house.submit()

        answer = await house.http.get(f"/v1/jobs/{job_id}/events", params={"after": cursor})

        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.req("EVT-2")
async def test_trimmed_output_is_marked_by_a_gap() -> None:
    async with running() as house:
        job_id = await house.submit()
        house.store.emit(job_id, *"abcde")
        house.store.trim(job_id, keep=2)
        await house.http.post(f"/v1/jobs/{job_id}/cancel")

        frames = await house.frames(job_id)
        resumed = await house.frames(job_id, headers={"Last-Event-ID": "2-2"})
        after_gap = await house.frames(job_id, headers={"Last-Event-ID": "2-3"})

        assert kinds(frames) == ["started", "status", "status", "gap", "log", "log", "end"]
        assert frames[3].data == {"from_i": 1, "to_i": 3}
        assert resumed[0].data == {"from_i": 3, "to_i": 3}
        assert kinds(after_gap) == ["log", "log", "end"]
        registry = house.gateway.services.metrics.registry
        assert registry.get_sample_value("orch_sse_gaps_total") == 2
        assert registry.get_sample_value("orch_sse_streams") == 0


@pytest.mark.req("EVT-2")
async def test_a_question_and_a_pause_travel_as_status_and_end_nothing() -> None:
    async with running() as house:
        job_id = await house.submit()
        reading = Reading()
        house.tasks.start_soon(house.follow, job_id, reading)
        house.store.claim(job_id)
        house.store.ask(
            job_id,
            Question(question_id="q", text="?", kind="text", options=None, expires_at_ms=None),
        )
        await wait_until(lambda: moves(reading.frames)[-1:] == ["blocked"])
        await house.http.post(f"/v1/jobs/{job_id}/answer", json={"question_id": "q", "value": "a"})
        await house.http.post(f"/v1/jobs/{job_id}/pause")
        await house.http.post(f"/v1/jobs/{job_id}/resume")
        house.store.claim(job_id)
        house.store.settle(job_id)
        await wait_until(lambda: reading.closed)

        assert kinds(reading.frames).count("started") == 1
        assert set(kinds(reading.frames)) == {"started", "status", "end"}
        expected = "queued ready running blocked queued paused queued ready running completed"
        assert moves(reading.frames) == expected.split()


@pytest.mark.req("EVT-2")
async def test_a_long_history_is_sent_page_by_page_without_loss() -> None:
    async with running() as house:
        job_id = await house.submit()
        house.store.emit(job_id, *(f"line {n}" for n in range(1_203)))
        await house.http.post(f"/v1/jobs/{job_id}/cancel")

        frames = await house.frames(job_id)

        assert [f.data["i"] for f in frames if f.event == "log"] == list(range(1, 1_204))
        assert kinds(frames)[-1] == "end"


@pytest.mark.req("EVT-3", "EVT-2")
async def test_two_hundred_watchers_get_every_frame_once_in_order_over_shared_reads() -> None:
    async with running() as house:
        job_id = await house.submit()
        readings = [Reading() for _ in range(200)]
        for reading in readings:
            house.tasks.start_soon(house.follow, job_id, reading)
        await wait_until(lambda: all(len(reading.frames) == 2 for reading in readings))
        house.store.calls.clear()

        house.store.claim(job_id)
        for n in range(20):
            house.store.emit(job_id, f"line {n}")
            await wait_until(lambda have=5 + n: all(len(r.frames) == have for r in readings))  # type: ignore[misc]  # mypy loses the default argument
        house.store.settle(job_id)
        await wait_until(lambda: all(reading.closed for reading in readings))

        assert all(reading.frames == readings[0].frames for reading in readings)
        assert kinds(readings[0].frames) == [
            "started",
            *["status"] * 3,
            *["log"] * 20,
            "status",
            "end",
        ]
        reads = house.store.calls
        assert reads["answered"] < 30, "one reader of the feed for all"
        assert reads["ledger"] + reads["output"] < 200 * 22 / 4, "watchers share reads"


@pytest.mark.req("EVT-3", "SIM-5")
async def test_a_watcher_that_reads_nothing_holds_up_nobody() -> None:
    async with running() as house:
        job_id = await house.submit()
        request = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\n\r\n"
        async with await anyio.connect_tcp("127.0.0.1", house.port) as stuck:
            await stuck.send(request.encode())
            reading = Reading()
            house.tasks.start_soon(house.follow, job_id, reading)
            house.store.claim(job_id)
            for _ in range(40):
                house.store.emit(job_id, *("x" * 8_000 for _ in range(50)))
                await anyio.lowlevel.checkpoint()
            house.store.settle(job_id)
            await wait_until(lambda: reading.closed)

        assert kinds(reading.frames).count("log") == 2_000


@pytest.mark.req("EVT-2")
async def test_a_silent_stream_is_kept_alive_by_comments() -> None:
    async with running(timing=QUICK) as house:
        job_id = await house.submit()
        reading = Reading()
        house.tasks.start_soon(house.follow, job_id, reading)

        await wait_until(lambda: reading.pings >= 2)

        assert kinds(reading.frames) == ["started", "status"]
        house.stop.set()
        await wait_until(lambda: reading.closed)


@pytest.mark.req("EVT-2", "EVT-3")
async def test_a_reader_of_the_feed_that_fell_behind_resyncs_every_watcher() -> None:
    async with running() as house:
        job_id = await house.submit()
        reading = Reading()
        house.tasks.start_soon(house.follow, job_id, reading)
        await wait_until(lambda: len(reading.frames) == 2)
        await wait_until(lambda: house.store.calls["read"] > house.store.calls["answered"])

        sample = house.gateway.services.metrics.registry.get_sample_value
        assert (sample("orch_sse_streams"), sample("orch_sse_watched_jobs")) == (1, 1)
        house.store.cancel_untold(job_id)
        await wait_until(lambda: reading.closed)

        assert moves(reading.frames) == ["queued", "canceled"]
        assert sample("orch_sse_resyncs_total") == 1


@pytest.mark.req("EVT-2")
async def test_an_outage_of_redis_pauses_a_stream_and_ends_nothing() -> None:
    async with running() as house:
        job_id = await house.submit()
        reading = Reading()
        house.tasks.start_soon(house.follow, job_id, reading)
        await wait_until(lambda: len(reading.frames) == 2)

        house.store.away = True
        house.store.emit(job_id, "during the outage")
        house.gateway.hub.resync()
        await wait_until(lambda: reading.pings >= 1)
        house.store.away = False
        await house.http.post(f"/v1/jobs/{job_id}/cancel")
        await wait_until(lambda: reading.closed)

        assert kinds(reading.frames) == ["started", "status", "status", "log", "end"]


@pytest.mark.req("EVT-2", "API-3")
async def test_a_job_that_is_not_there_is_a_typed_error_before_any_frame() -> None:
    async with running() as house:
        answer = await house.http.get("/v1/jobs/nobody/events")

        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.req("EVT-2")
async def test_a_record_that_is_swept_away_ends_its_stream_with_one_error() -> None:
    async with running() as house:
        job_id = await house.submit()
        reading = Reading()
        house.tasks.start_soon(house.follow, job_id, reading)
        await wait_until(lambda: len(reading.frames) == 2)

        house.store.fault = Refused(ErrorCode.NOT_FOUND, "swept")
        house.gateway.hub.resync()
        await wait_until(lambda: reading.closed)
        house.store.fault = None

        assert kinds(reading.frames) == ["started", "status", "error"]
        assert reading.frames[-1].data["code"] == "NOT_FOUND"


@pytest.mark.req("EVT-3")
async def test_a_reader_that_leaves_is_forgotten_and_without_readers_the_feed_rests() -> None:
    async with running() as house:
        job_id = await house.submit()
        async with house.http.stream("GET", f"/v1/jobs/{job_id}/events"):
            await wait_until(lambda: house.gateway.hub.watched == 1)
        await wait_until(lambda: house.gateway.hub.watched == 0)
        house.store.wake()
        await wait_until(lambda: house.store.calls["read"] == house.store.calls["answered"])
        reads = house.store.calls["read"]

        house.store.emit(job_id, "nobody listens")
        await house.http.get("/livez")

        assert house.store.calls["read"] == reads


@pytest.mark.req("EVT-3", "SIM-5")
async def test_who_takes_nothing_is_given_no_more_than_sockets_hold() -> None:
    async with running() as house:
        job_id = await house.submit()
        house.store.claim(job_id)
        house.store.emit(job_id, *(f"{n}:".ljust(8_000, "x") for n in range(2_000)))

        async with await anyio.connect_tcp("127.0.0.1", house.port) as deaf:
            host = f"Host: 127.0.0.1:{house.port}\r\n\r\n"
            await deaf.send(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\n{host}".encode())
            assert await deaf.receive(12) == b"HTTP/1.1 200"
            await wait_until(lambda: house.store.calls["output"] > 1)
            await anyio.wait_all_tasks_blocked()

            assert house.store.calls["output"] < 2_000 // OUTPUT_PAGE, "the rest is not even read"
