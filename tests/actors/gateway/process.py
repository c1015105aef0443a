"""`python -m actors gateway` as a real process over a real server, and raw sockets to knock with."""

from __future__ import annotations

import json
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.abc

ROOT: Final = Path(__file__).parents[3]
TLS: Final = Path(__file__).parent / "tls"
STARTED_S: Final = 30


@dataclass
class Process:
    """What became of it: an address, or an exit code."""

    address: tuple[str, int] | None = None
    code: int | None = None
    pid: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def log(self) -> str:
        return "".join(self.said)

    @property
    def reached_at(self) -> tuple[str, int]:
        assert self.address is not None, self.log
        host, port = self.address
        return ("127.0.0.1" if host == "0.0.0.0" else host), port

    async def knock(
        self, *pieces: bytes, until: bytes = b"", within_s: float = 20, tls: bool = False
    ) -> bytes:
        """What it says to these bytes, until it has said `until` or closes; also when it cuts us off."""
        host, port = self.reached_at
        context = None
        if tls:
            context = ssl.create_default_context(cafile=str(TLS / "cert.pem"))
        said = b""
        async with await anyio.connect_tcp(
            host,
            port,
            ssl_context=context,
            tls_hostname="orch.example" if tls else "",
        ) as stream:
            with anyio.fail_after(within_s):
                try:
                    for piece in pieces:
                        await stream.send(piece)
                    while not until or until not in said:
                        said += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    pass
        return said

    def head(self, line: str, *headers: str) -> bytes:
        """The head of a request with our Host."""
        assert self.address is not None
        host = f"Host: 127.0.0.1:{self.address[1]}"
        return "\r\n".join([f"{line} HTTP/1.1", host, *headers, "", ""]).encode()


def status_of(said: bytes) -> int:
    """Of the first answer."""
    return int(said.split(b" ", 2)[1])


def body_of(said: bytes) -> Any:
    """Of the only answer."""
    return json.loads(said.partition(b"\r\n\r\n")[2])


@asynccontextmanager
async def gateway(
    home: Path, redis_url: str, *words: str, env: dict[str, str] | None = None
) -> AsyncIterator[Process]:
    """The process once it listens or has ended, with these further words on its command line."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCH_")}
    command = [sys.executable, "-m", "actors", "gateway", "--home", str(home)]
    process = await anyio.open_process(
        [*command, "--redis-url", redis_url, *words],
        cwd=ROOT,
        env={**kept, **(env or {})},
    )
    made, settled = Process(pid=process.pid), anyio.Event()
    async with process, anyio.create_task_group() as tasks:
        tasks.start_soon(_listen, process, made, settled)
        try:
            with anyio.fail_after(STARTED_S):
                await settled.wait()
                await _reachable(made)
            yield made
        finally:
            if process.returncode is None:
                process.terminate()
            with anyio.CancelScope(shield=True):
                made.code = await process.wait()


async def _reachable(made: Process) -> None:
    """Its socket is bound before it listens."""
    while made.address is not None and made.code is None:
        try:
            await (await anyio.connect_tcp(*made.reached_at)).aclose()
        except OSError:
            await anyio.sleep(0.01)
        else:
            return


async def _listen(process: anyio.abc.Process, made: Process, settled: anyio.Event) -> None:
    assert process.stderr is not None
    async for chunk in process.stderr:
        made.said.append(chunk.decode())
        for line in made.log.splitlines():
            if '"gateway_listens"' in line and line.endswith("}"):
                host, port = json.loads(line)["address"][:2]
                made.address = host, port
                settled.set()
    made.code = await process.wait()
    settled.set()
