"""What runs as an agent in drills: functions that worker processes import by path, without Orch."""
