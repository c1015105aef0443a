"""push, apply, acknowledge and proceed: operators' commands, from the stream to their end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from contracts import limits
from contracts.errors import CATALOGUE, ErrorCode
from contracts.states import STATE_CODES, Event
from tests.sim.model import ties
from tests.sim.model.call import Call, Job, Reply
from tests.sim.model.reading import parse_id

_HEAD = 15
_NAMES = {code: state.value for state, code in STATE_CODES.items()}


# -- the record


def _tell(call: Call, command_id: str, what: str, instance: str) -> None:
    call.append(
        "acks", limits.ACKS_ENTRIES_MAX, command=command_id, what=what, instance=instance,
        at_ms=str(call.now),
    )  # fmt: skip


def _close(call: Call, command_id: str, status: str, outcome: str = "") -> None:
    record = call.hash(f"command:{command_id}")
    record |= {"status": status, "ended_at": str(call.now)} | (
        {"outcome": outcome} if outcome else {}
    )
    call.space.zset(f"{call.shard}open").remove(command_id)
    _tell(call, command_id, status, "")


def _is_settled(standing: str, works: str) -> bool:
    return standing != "waiting" and not (works == "1" and standing == "acked")


def _stands(call: Call, command_id: str, instance: str, standing: str) -> None:
    """From now on the instance stands so in the record; late and repeated words change nothing."""
    record = call.hash(f"command:{command_id}")
    if not record:
        call.space.zset(f"{call.shard}open").remove(command_id)
    known, works = record.get(f"i:{instance}"), record.get("works", "")
    if record.get("status") != "applied" or known is None or known == standing:
        return
    if _is_settled(known, works):
        return
    record[f"i:{instance}"] = standing
    if standing.startswith("failed") or (standing == "gone" and record["command"] == "reload"):
        record["failed"] = instance
    _tell(call, command_id, re.match("[a-z]+", standing)[0], instance)  # type: ignore[index]  # a standing begins with a word
    if _is_settled(standing, works):
        record["waits"] = str(int(record["waits"]) - 1)
        if record["waits"] == "0":
            _close(call, command_id, "failed" if "failed" in record else "done")


def excuse(call: Call, instance: str) -> None:
    """An instance that left or was buried is not waited for."""
    for _, command_id in list(call.space.zset(f"{call.shard}open")):
        _stands(call, command_id, instance, "gone")


# -- the way in


def push(call: Call, argv: Sequence[str]) -> Reply:
    """push: puts a command that a door has judged into the stream, under an id that was not used before."""
    command_id, command, target, args, if_revision, by, token = argv
    record = call.hash(f"command:{command_id}")
    if record:
        return ["same" if record.get("token") == token else "duplicate"]
    stream = call.space.stream(f"{call.shard}control")
    waiting = 0 if stream is None else len(stream)
    if waiting >= limits.COMMANDS_WAITING_MAX:
        return ["full", waiting]
    words = {"command": command, "target": target, "args": args, "by": by}
    record |= {**words, "status": "pushed", "token": token, "at": str(call.now)}
    call.space.expires[f"{call.shard}command:{command_id}"] = call.now + limits.COMMAND_TTL_MS
    call.space.zset(f"{call.shard}commands").put(command_id, call.now)
    fields = {"v": "1", "id": command_id, **words, "token": token}
    if if_revision:
        fields["if_revision"] = if_revision
    call.space.append(f"{call.shard}control", fields)
    return call.done()


# -- the stream


def _error(code: ErrorCode, message: str, details: Mapping[str, Any]) -> str:
    row = CATALOGUE[code]
    head = {"code": code.value, "hint": row.hint, "retriable": row.retriable}
    body = {**head, "message": message, "request_id": "", "details": details}
    return orjson.dumps(body).decode()


def _judge(call: Call, argv: Sequence[str]) -> str:
    error, if_revision, pool, runner = argv[7:11]
    desired = call.hash("desired")
    revision = int(desired.get("rev", "0"))
    if error:
        return error
    if if_revision and int(if_revision) != revision:
        said = f"the desired state has revision {revision}, not {if_revision}"
        both = {"if_revision": int(if_revision), "revision": revision}
        return _error(ErrorCode.REVISION_CONFLICT, said, both)
    at_target = {"path": "target"}
    if pool and pool not in call.space.members(f"{call.shard}pools"):
        return _error(ErrorCode.NOT_FOUND, f"there is no pool {pool}", at_target)
    if runner and runner not in call.hash("beats"):
        return _error(ErrorCode.NOT_FOUND, f"there is no runner {runner}", at_target)
    adds = int(argv[14]) > 0 and argv[_HEAD + 1] != ""
    if adds and len(desired) >= limits.DESIRED_FIELDS_MAX:
        most = {"fields_max": limits.DESIRED_FIELDS_MAX}
        said = "the desired state holds as much as it may"
        return _error(ErrorCode.QUEUE_FULL, said, most)
    return ""


def _concerned(call: Call, roles: Sequence[str], only: str) -> Iterator[str]:
    """Who lives and must acknowledge."""
    for instance, text in sorted(call.hash("instances").items()):
        about = orjson.loads(text)
        role = about["role"]
        meant = only in {"", instance}
        if role == "runner":
            meant = meant or about["pool"] == only
        elif role == "supervisor":
            meant = meant or only in about["serves"].split()
        else:
            meant = True
        if role in roles and meant and instance in call.hash("beats"):
            yield instance


def _supersede(call: Call, field: str) -> None:
    old = call.hash("desired").get(field)
    record = call.hash(f"command:{old}") if old else {}
    if record.get("status") != "applied":
        return
    if field != "reload" or "acked" not in record.values():
        _close(call, str(old), "done", '{"withdrawn":true}')


def _loosen(call: Call, field: str) -> None:
    kind, _, rest = field.partition(":")
    words = rest.split(":")
    if kind == "tenant" and words[1:] in (["running_max"], ["dispatch"]):
        ties.loosen(call, words[0], "t")
    elif kind == "key" and words[2:] == ["running_max"]:
        ties.loosen(call, words[0], f"k:{words[1]}")


def _write(call: Call, writes: Sequence[str]) -> int:
    desired = call.hash("desired")
    for field, value in zip(writes[::2], writes[1::2], strict=True):
        if field == "reload" or field.endswith(":drain"):
            _supersede(call, field)
        _loosen(call, field)
        if value == "":
            desired.pop(field, None)
        elif re.fullmatch(r"\+\d+", value):
            desired[field] = str(call.now + int(value))
        else:
            desired[field] = value
    desired["rev"] = str(int(desired.get("rev", "0")) + 1)
    call.append("revisions", limits.REVISIONS_ENTRIES_MAX, rev=desired["rev"])
    return int(desired["rev"])


def _open(call: Call, command_id: str, revision: int, expected: Sequence[str], kind: str) -> None:
    record = call.hash(f"command:{command_id}")
    record |= {f"i:{instance}": "waiting" for instance in expected}
    works = str(int(kind == "works"))
    record |= {"status": "applied", "revision": str(revision), "works": works}
    record["waits"] = str(len(expected))
    _tell(call, command_id, "applied", "")
    if kind == "cancels":
        until = call.meta.get("arrivals", "0")
        record |= {"until": until, "tenant": "", "after": "0", "matched": "0", "canceled": "0"}
        call.space.zset(f"{call.shard}canceling").put(command_id, revision)
    elif expected:
        call.space.zset(f"{call.shard}open").put(command_id, revision)
    elif record["command"] == "reload":
        reason = '{"reason":"no supervisor lives that could reload"}'
        _close(call, command_id, "failed", reason)
    else:
        _close(call, command_id, "done")


def apply(call: Call, argv: Sequence[str]) -> Reply:
    """apply: carries the oldest command of the stream out, or refuses it: desired state, record,
    announcement."""
    entry, command_id, token, command, target, args, by = argv[:7]
    stream, found = call.space.stream(f"{call.shard}control"), parse_id(entry)
    own_id = "" if command_id == entry else command_id
    if stream is None or not call.space.is_as_read(f"{call.shard}control", found, "id", own_id):
        return ["same"]
    ((first, _),) = list(stream.entries())[:1]
    if first != found:
        return ["behind", f"{first[0]}-{first[1]}"]
    refusal, known = "", call.hash(f"command:{command_id}")
    if known and not (known["status"] == "pushed" and known.get("token") == token):
        said = f"a command {command_id} was given before"
        refusal = _error(ErrorCode.DUPLICATE_COMMAND, said, {"id": command_id})
        command_id = entry
    refusal = refusal or _judge(call, argv)
    record = call.hash(f"command:{command_id}")
    record.setdefault("at", str(call.now))
    record |= {"command": command, "target": target, "args": args, "by": by}
    record["applied_at"] = str(call.now)
    revision = 0
    if refusal:
        record["error"] = refusal
        _close(call, command_id, "refused")
    else:
        revision = _write(call, argv[_HEAD:])
        expected = list(_concerned(call, argv[11].split(), argv[12]))
        _open(call, command_id, revision, expected, argv[13])
    call.space.zset(f"{call.shard}commands").put(command_id, call.now)
    call.space.expires[f"{call.shard}command:{command_id}"] = call.now + limits.COMMAND_TTL_MS
    call.space.settle_entry(f"{call.shard}control", "control", found)
    return call.done(record["status"], revision)


# -- acknowledgements


def acknowledge(call: Call, argv: Sequence[str]) -> Reply:
    """acknowledge: an instance obeys the desired state of a revision, and may report the end of one command's
    work."""
    instance, revision, command_id, status, report = argv
    if instance not in call.hash("beats"):
        return ["unknown"]
    for one in call.space.zset(f"{call.shard}open").up_to(int(revision)):
        _stands(call, one, instance, "acked")
    if command_id:
        _stands(call, command_id, instance, f"{status} {report}")
    return call.done()


# -- cancel by filter


def _fits(job: Job, target: str, which: Mapping[str, Any], call: Call) -> bool:
    kind, first, second = (*target.split(":"), "", "")[:3]
    fields = job.fields
    if not call.allows(job, Event.CANCEL):
        return False
    wanted = [
        (which.get("pool"), fields["pool"]),
        (first if kind in {"pool", "queue"} else None, fields["pool"]),
        (second if kind == "queue" else None, fields["class"]),
        (which.get("state"), _NAMES[job.state]),
    ]
    if any(want not in (None, have) for want, have in wanted):
        return False
    spec = orjson.loads(fields["spec"])
    if which.get("name") not in (None, spec.get("name")):
        return False
    label = which.get("label")
    if label is None:
        return True
    key, equals, value = label.partition("=")
    labels = spec.get("labels") or {}
    return labels.get(key) == value if equals else key in labels


def proceed(call: Call, argv: Sequence[str]) -> Reply:
    """proceed: goes on with the oldest cancel by filter, a bounded number of jobs further."""
    most, canceling = int(argv[0]), call.space.zset(f"{call.shard}canceling")
    first = canceling.first()
    if first is None:
        return ["none"]
    record = call.hash(f"command:{first[1]}")
    if not record or _cancel_some(call, first[1], record, most):
        canceling.remove(first[1])
        if record:
            _close(call, first[1], "done")
    return call.done(len(canceling), call.retired)


def _cancel_some(call: Call, command_id: str, record: dict[str, str], most: int) -> bool:
    which, looked = orjson.loads(record["args"]), 0
    filters = which.get("filter", {})
    kind, _, named = record["target"].partition(":")
    for tenant in sorted(call.space.members(f"{call.shard}tenants")):
        meant = filters.get("tenant") in (None, tenant) and (kind != "tenant" or named == tenant)
        if tenant < record["tenant"] or not meant:
            continue
        if tenant != record["tenant"]:
            record |= {"tenant": tenant, "after": "0"}
        listed = [
            (int(at), one)
            for at, one in call.space.zset(f"{call.shard}jobs:{tenant}")
            if int(record["after"]) < at <= int(record["until"])
        ][: most - looked]
        for at, job_id in listed:
            record["after"] = str(at)
            job = call.load(job_id)
            if job is None or not _fits(job, record["target"], filters, call):
                continue
            record["matched"] = str(int(record["matched"]) + 1)
            if not which.get("dry_run"):
                who = f'"by":"{record["by"]}","note":"control {command_id}"'
                payload = f'{{{who},"reason":"canceled"'
                call.end_early(job, Event.CANCEL, "control", payload, "canceled")
                record["canceled"] = str(int(record["canceled"]) + 1)
        looked += max(1, len(listed))
        if looked >= most:
            return False
    return True
