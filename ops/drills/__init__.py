"""Exercises of the runbooks: `make drill` lists them, `make drill NAME=restore` plays one.

A drill starts a real stack in a temporary folder, puts load on it, brings the trouble about for real, does
what its page in ops/runbooks/ says, and checks that each job ended once. Nothing of it is left behind.
"""
