"""Where the gateway listens, whether it may, and with which certificate.

Shared by the supervisor, which binds the socket and keeps it over restarts, and the gateway, which serves it.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address

from contracts.errors import ErrorCode, Refused
from orch.core.listening import listening_fault
from orch.settings import Settings


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM."""

    cert: str
    key: str

    def checked(self) -> Tls:
        """Itself, when a server could be started with it.

        Raises:
            Refused: INVALID_CONFIG, naming the setting.
        """
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self.cert, self.key, _no_password
            )
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            why = getattr(error, "strerror", None) or "not a certificate and its key in PEM"
            raise Refused(
                ErrorCode.INVALID_CONFIG,
                f"tls_cert, tls_key: {why} ({self.cert}, {self.key})",
                details={
                    "key": "tls_cert",
                    "value": self.cert,
                    "bound": "a certificate and its key",
                },
            ) from None
        return self


def _no_password() -> str:
    """Asked for by a key that is encrypted; without this, OpenSSL would ask on the terminal."""
    message = "the key is encrypted"
    raise ValueError(message)


def tls_of(settings: Settings) -> Tls | None:
    """The certificate that the settings name, looked at.

    Raises:
        Refused: INVALID_CONFIG, when no server could be started with it.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Tls(settings.tls_cert, settings.tls_key).checked()


def check_listener(sock: socket.socket, settings: Settings) -> None:
    """Returns when this socket may be served. The settings were judged by the address that they name; a
    socket that was handed in is judged by its own.

    Raises:
        Refused: INVALID_CONFIG, saying what to set.
    """
    address = str(sock.getsockname()[0])
    fault = listening_fault(address, settings)
    if fault is not None:
        message = f"the socket that was handed in listens on {address}: must be {fault[1]}"
        raise Refused(ErrorCode.INVALID_CONFIG, message, details={"key": "host", "value": address})


def url_of(sock: socket.socket, *, is_tls: bool) -> str:
    """How this machine reaches the socket."""
    host, port = sock.getsockname()[:2]
    address = ip_address(host)
    if address.is_unspecified:
        address = ip_address("::1" if address.version == 6 else "127.0.0.1")
    name = f"[{address}]" if address.version == 6 else str(address)
    return f"{'https' if is_tls else 'http'}://{name}:{port}"
