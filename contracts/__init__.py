"""The words of Orch: what a job, a state, an outcome, an event, an error and a limit are.

Nothing here does I/O, reads a clock or imports another package of ours. Everything else imports from
here. The files under `schemas/`, `openapi.json`, `events.md` and the Lua state table are generated
from these modules by `make generate` and diff-checked by a test.
"""
