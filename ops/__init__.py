"""Programs for those who develop and run Orch."""
