"""A bare FastAPI that takes and gives the same JSON as the gateway's POST /v1/jobs, and does nothing else.

`python -m bench.bare PORT`: the comparison for Orch's HTTP door; one uvicorn process, as the gateway is one.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.post("/v1/jobs", status_code=202)
async def submit(spec: dict[str, Any]) -> dict[str, Any]:
    """The answer of a submission."""
    return {
        "job_id": "01abcdefghijklmnopqr",
        "state": "queued",
        "queue_position": len(spec),
        "predicted_start_ms": None,
        "duplicate": False,
    }


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        http="h11",
        log_level="error",
        access_log=False,
    )
