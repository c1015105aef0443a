"""Which tests only `make check` runs (`--thorough`): `make test` stays under six minutes on two cores.

Each is the long form of something that a shorter test of `make test` proves too, or drives whole stacks in a
rare way. Naming a file, a folder or `-k` on the command line runs what is named, these included.
"""

from __future__ import annotations

from typing import Final

LONG: Final = (
    "tests/actors/gateway/test_traces.py::test_a_head_that_never_ends",
    "tests/adapters/test_http_limits.py",
    "tests/bench/test_rig.py::test_one_run_measures",
    "tests/chaos/test_slice.py::test_a_few_seconds_of_a_server",
    "tests/chaos/test_slice.py::test_a_few_seconds_on_a_cluster",
    "tests/chaos/test_slice.py::test_a_few_seconds_on_a_disk",
    "tests/chaos/test_slice.py::test_a_runner_that_dies_with_all_reapers",
    "tests/cli/test_real_stack.py::test_a_test_that_leaves",
    "tests/cli/test_stack.py",
    "tests/contract/test_guarded.py",
    "tests/contract/test_hostile.py",
    "tests/contract/test_openapi.py::test_no_request_drawn",
    "tests/deploy/test_image.py",
    "tests/deploy/test_wheel.py::test_a_stranger",
    "tests/e2e/test_adapters.py",
    "tests/e2e/test_agents_environment.py",
    "tests/e2e/test_any_process_may_die.py::test_a_killed_part_loses_nothing_and_serves_again",
    "tests/e2e/test_bad_input.py",
    "tests/e2e/test_concurrent_append.py",
    "tests/e2e/test_control.py::test_a_command_given_while",
    "tests/e2e/test_control.py::test_one_runner_is_drained",
    "tests/e2e/test_dashboards.py",
    "tests/e2e/test_demo.py::test_a_stack_that_dies",
    "tests/e2e/test_demo.py::test_interrupted",
    "tests/e2e/test_demo.py::test_kept",
    "tests/e2e/test_http_agents.py::test_a_secret",
    "tests/e2e/test_http_agents.py::test_without_its_server",
    "tests/e2e/test_many.py",
    "tests/e2e/test_metrics.py::test_a_server_that_does_not_answer",
    "tests/e2e/test_observe.py",
    "tests/e2e/test_reload.py::test_a_configuration_on_which_a_part_does_not_start",
    "tests/e2e/test_reload.py::test_a_drain_that_takes_too_long",
    "tests/e2e/test_reload.py::test_a_bad_configuration",
    "tests/e2e/test_rights.py",
    "tests/e2e/test_server_and_supervisor.py::test_a_home_locked",
    "tests/e2e/test_server_and_supervisor.py::test_a_runner_asked",
    "tests/e2e/test_server_and_supervisor.py::test_a_second_up",
    "tests/e2e/test_server_and_supervisor.py::test_the_stack_is_asked",
    "tests/e2e/test_server_and_supervisor.py::test_two_stacks",
    "tests/e2e/test_servers.py",
    "tests/e2e/test_shards.py",
    "tests/e2e/test_shortest_lease.py::test_a_main_thread_that_is_busy_for_three_leases_costs_none[calls",
    "tests/e2e/test_shortest_lease.py::test_a_clock_that_jumps_makes_no_silent_runner_immortal[-",
    "tests/e2e/test_shortest_lease.py::test_one_call_of_c",
    "tests/e2e/test_tokens.py",
    "tests/e2e/test_uniqueness.py",
    "tests/e2e/test_unfit_servers.py::test_a_server",
    "tests/e2e/test_unfit_servers.py::test_a_stack_refuses_it_with_what_to_set_and_leaves_it_untouched[forgets",
    "tests/e2e/test_unfit_servers.py::test_one_actor",
    "tests/e2e/test_unfit_servers.py::test_orch_up",
    "tests/e2e/test_webhooks.py::test_a_notifier_that_is_killed",
    "tests/e2e/test_webhooks.py::test_a_receiver_that_was_down",
    "tests/features/test_features.py::test_every_scenario_fails",
    "tests/lint/test_alerts.py::test_a_rule_that_is_broken",
    "tests/ops/test_drills.py::test_a_drill_that_is_interrupted",
    "tests/ops/test_drills.py::test_a_long_drill",
    "tests/ops/test_drills.py::test_a_quick_drill_passes[lost-writes]",
    "tests/shape/test_docs.py::test_the_blocks_of_a_page_run[docs/",
    "tests/soak/test_slice.py",
    "tests/store/test_rights.py::test_on_a_cluster",
    "tests/store/test_timeouts.py",
    "tests/upgrade/test_rolling.py::test_versions_change_places",
)
"""Beginnings of test names."""

SECOND_ENGINES: Final = (
    "[fakeredis", "[redis", "[cluster", "-fakeredis", "-redis", "-cluster",
)  # fmt: skip
"""`make test` asks the store on Valkey and on the model; Redis, a Cluster and fakeredis answer alike."""
OF_ENGINES: Final = ("tests/sim/", "tests/store/")


def is_long(name: str) -> bool:
    """Whether the test of this node id is left to `make check`."""
    engine = name.startswith(OF_ENGINES) and any(word in name for word in SECOND_ENGINES)
    return engine or name.startswith(LONG)
