"""An agent behind HTTP: a runner beside it sends each job as one request.

It listens on loopback, because containers of one pod, or of one network namespace, share that. A process 1
has no signal handlers but its own, so it brings one.
"""

from __future__ import annotations

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Agent(BaseHTTPRequestHandler):
    """GET answers a probe; POST does a job."""

    def do_GET(self) -> None:
        """It can be asked."""
        self.answer({"healthy": True})

    def do_POST(self) -> None:
        """Does what it was asked, and says for which job."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({"answer": asked["text"].upper(), "job": self.headers["Orch-Job-Id"]})

    def answer(self, document: dict[str, object]) -> None:
        """One JSON document."""
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serves on the port of the command line until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Agent)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
