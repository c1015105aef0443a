"""Broken versions of Orch, and the proof that the simulation notices each of them.

A simulation that finds nothing proves something only if it would have found something. `catalogue` says what
is broken, `plant` breaks it in a process of its own, `hunt` runs the ordinary seeds until one notices.
"""
