"""The scheduler: timers, and the sweep that keeps lines and slots in agreement."""
