"""Orch: durable execution of AI-agent work."""

__version__ = "0.1.0"
