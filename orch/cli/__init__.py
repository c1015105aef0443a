"""The `orch` command: client calls and rendering only. Importing this package imports nothing heavy."""
