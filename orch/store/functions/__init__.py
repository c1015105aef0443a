"""The Lua of the function library: one verb a file, shared.lua first; built by orch.store.library."""
