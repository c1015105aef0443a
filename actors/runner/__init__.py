"""The runner: claims jobs, runs them through adapters, delivers how they ended."""
