"""What runs as an agent in the demo: child programs that start without Orch's packages."""
