"""Admission of raw requests: the stream `requests` in, jobs and answers out."""
