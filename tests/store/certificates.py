"""A server program that speaks TLS, and certificates of both sides, made for one test."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from orch.store.engine import Engine, engines
from tests.store.cluster import Node, free_port, node
from tests.store.engines import must_be_here


@dataclass(frozen=True)
class Guarded:
    """A server that wants a certificate of whoever comes."""

    node: Node
    folder: Path
    port: int

    @property
    def trust(self) -> str:
        """The words of a URL that know its authority."""
        return f"ssl_ca_certs={self.folder}/ca.crt"

    @property
    def mine(self) -> str:
        """The words of a URL that show a certificate of ours."""
        return f"ssl_certfile={self.folder}/client.crt&ssl_keyfile={self.folder}/client.key"

    def url(self, *words: str, login: str = "") -> str:
        """Its address with these words."""
        return f"rediss://{login}127.0.0.1:{self.port}?{'&'.join(words)}"


@contextmanager
def guarded_server(home: Path, *words: str) -> Iterator[Guarded]:
    """A running one; the test is skipped where nothing here speaks TLS, and fails where it must."""
    engine = _with_tls()
    if engine is None or shutil.which("openssl") is None:
        assert not must_be_here(), "Debian's redis-server speaks TLS, and openssl is there"
        pytest.skip("no server program with TLS here, or no openssl")
    folder = home / "certificates"
    folder.mkdir()
    _make_certificates(folder)
    port = free_port()
    files = {"cert-file": "server.crt", "key-file": "server.key", "ca-cert-file": "ca.crt"}
    tls = [w for key, name in files.items() for w in (f"--tls-{key}", str(folder / name))]
    with node(engine, home, "--tls-port", str(port), *tls, *words) as started:
        yield Guarded(started, folder, port)


def _make_certificates(folder: Path) -> None:
    """An authority, a server's certificate for loopback, a client's certificate."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client"):
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.crt",
        )  # fmt: skip


def _with_tls() -> Engine | None:
    """A server program that speaks TLS, which misses a certificate here; the one in the wheel does not."""
    # Not from a file: to a server with a file the stand-ins of --timeouts give a socket.
    config = b"port 0\ntls-port 1\n"
    for engine in engines():
        said = subprocess.run(
            [engine.path, "-"], input=config, capture_output=True, check=False, timeout=10
        ).stdout
        if b"No tls-cert-file" in said:
            return engine
    return None
