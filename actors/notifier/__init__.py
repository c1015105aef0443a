"""The notifier: tells webhooks what became of jobs."""
