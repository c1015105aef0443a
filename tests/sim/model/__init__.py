"""A second implementation of one shard, in plain Python: fast enough for a hundred thousand schedules.

`server.ModelServer` holds the data and answers what a Redis would, `client.ModelClient` has the shape of
redis-py's client, and one module a family of verbs says what the functions of `orch.store.library` promise.
`tests/sim/test_model.py` holds it against the real Lua, call by call.
"""
