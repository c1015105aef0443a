"""Fallback: what happens after an attempt that did not complete its job."""
