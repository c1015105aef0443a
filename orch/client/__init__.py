"""The typed client of Orch's HTTP API: `Orch` for async code, `OrchSync` for the rest.

Both run the same descriptions of calls (`calls.py`); errors are those of `contracts.errors`.
"""

from orch.client.answers import Answer, RefusedByServer, UnavailableServer
from orch.client.client import Orch
from orch.client.endpoint import Endpoint, find_endpoint, read_endpoint_file
from orch.client.frames import JobFrame
from orch.client.sync import OrchSync

__all__ = [
    "Answer",
    "Endpoint",
    "JobFrame",
    "Orch",
    "OrchSync",
    "RefusedByServer",
    "UnavailableServer",
    "find_endpoint",
    "read_endpoint_file",
]
