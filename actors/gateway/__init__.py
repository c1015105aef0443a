"""How the world reaches Orch over HTTP: jobs in, records and streams out.

`app.py` composes, `serve.py` runs; the composition root needs only `Services`, `create_app` and
`serve`. What the words mean is `contracts`, what is stored is `orch.store`.
"""
