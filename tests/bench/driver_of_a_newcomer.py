"""A peer as a newcomer would add it: jobs on a list, one worker that pops them. Speaks bench/README.md."""

from __future__ import annotations

import sys

import redis

from bench.kit import stage

BLOCK_S = 5


def enqueue(options: stage.Options) -> object:
    with redis.Redis.from_url(stage.URL) as client:
        jobs = [options["job"]] * options["count"]
        client.ping()
        return stage.timed(lambda: client.rpush("jobs", *jobs))


def work(_: stage.Options) -> None:
    with redis.Redis.from_url(stage.URL) as client:
        while True:
            if client.blpop(["jobs"], timeout=BLOCK_S):
                stage.mark()


if stage.VARIANT == "broken":
    sys.exit("this peer never works")
stage.serve({"enqueue": enqueue, "work": work})
