"""The steps of streaming.feature."""

from __future__ import annotations

import json
import socket
from typing import Any

from pytest_bdd import given, parsers, scenarios, then, when

from contracts.states import State
from tests.contract.stories import Watch, follow_aside, read_stream
from tests.contract.whatwg import Message, messages
from tests.e2e.specs import shell
from tests.features.conftest import Scene

scenarios("streaming.feature")


def _sent(scene: Scene) -> list[Message]:
    watch: Watch = scene.about["watch"]
    assert watch.over.wait(scene.patience_s), "the stream has not ended"
    return messages(watch.read)


@given("a watcher of it")
def a_watcher(scene: Scene) -> None:
    watch = scene.about["watch"] = follow_aside(scene.stack.url, scene.job)
    scene.wait(lambda: watch.has("event: started"), "the stream begins")


@given("a watcher who was cut off after its second frame")
def a_watcher_cut_off(scene: Scene) -> None:
    scene.about["whole"] = messages(read_stream(scene.stack.url, scene.job))


@given("a failed job")
def a_failed_job(scene: Scene) -> None:
    scene.wait_for(scene.submit(shell("exit 3")), State.FAILED)


@given("a watcher who never reads, of a running job that talks a lot")
def a_watcher_who_never_reads(scene: Scene) -> None:
    talk = "yes 'a line of a hundred characters or so, again and again, until nobody can hold it any more' "
    scene.submit(
        shell(f"{talk} | head -c 8000000; while [ ! -e {scene.gate} ]; do sleep 0.02; done")
    )
    port = int(scene.stack.url.rpartition(":")[2])
    deaf = scene.about["deaf"] = socket.create_connection(("127.0.0.1", port))
    deaf.sendall(
        f"GET /v1/jobs/{scene.job}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    )
    assert deaf.recv(12) == b"HTTP/1.1 200"
    scene.wait_for(scene.job, State.RUNNING)


@when("somebody watches it")
def somebody_watches(scene: Scene) -> None:
    scene.about["watch"] = follow_aside(scene.stack.url, scene.job)


@when("the watcher comes back with the id of that frame")
def the_watcher_comes_back(scene: Scene) -> None:
    second = scene.about["whole"][1]
    scene.about["rest"] = messages(read_stream(scene.stack.url, scene.job, second.last_event_id))


@when("the job may end")
def the_job_may_end(scene: Scene) -> None:
    scene.gate.touch()


@then(parsers.parse("the watcher is sent started first and {last} last"))
def first_and_last(scene: Scene, last: str) -> None:
    names = [frame.type for frame in _sent(scene)]
    assert (names[0], names[-1]) == ("started", last)
    assert sum(name in {"started", "end", "error"} for name in names) == 2


@then("the watcher was sent the whole ledger, in order")
def the_whole_ledger(scene: Scene) -> None:
    told: list[dict[str, Any]] = [
        json.loads(frame.data) for frame in _sent(scene) if frame.type == "status"
    ]
    assert told == [event.model_dump(mode="json") for event in scene.ledger(scene.job)]


@then("it is sent the rest, and nothing twice")
def the_rest(scene: Scene) -> None:
    assert scene.about["rest"] == scene.about["whole"][2:]


@then(parsers.parse("the error says {code}"))
def the_error_says(scene: Scene, code: str) -> None:
    assert json.loads(_sent(scene)[-1].data)["code"] == code


@then("another watcher is sent its end")
def another_watcher(scene: Scene) -> None:
    assert messages(read_stream(scene.stack.url, scene.job))[-1].type == "end"
    scene.about["deaf"].close()
