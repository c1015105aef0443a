"""Exercises of the runbooks, each on a stack of its own: `make drill` lists them, `make drill NAME=restore` runs one.

A drill starts a real stack in a temporary folder, puts load on it, brings the trouble about for real, does what
its page in ops/runbooks/ says, and checks that each job ended once. Nothing of it is left behind.
"""
