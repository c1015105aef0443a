"""The OpenAPI document: valid, true, current (API-2). That answers keep to it is checked by `house`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV32SpecValidator

from actors.gateway.app import openapi_document
from contracts.errors import ErrorCode
from contracts.ids import ID_SCHEMA

COMMITTED = Path(__file__).parents[3] / "contracts" / "openapi.json"


def _operations() -> dict[str, dict]:
    return {
        operation["operationId"]: operation
        for path in openapi_document()["paths"].values()
        for operation in path.values()
    }


@pytest.mark.req("API-2")
def test_the_document_is_valid_openapi_and_made_without_a_store() -> None:
    document = openapi_document()

    OpenAPIV32SpecValidator(document).validate()
    assert document["openapi"] == "3.2.0"
    assert openapi_document() == document


@pytest.mark.req("API-2")
def test_the_committed_document_is_the_one_the_code_gives() -> None:
    assert json.loads(COMMITTED.read_text()) == openapi_document(), "run `make generate`"


@pytest.mark.req("API-2")
def test_operations_have_stable_readable_names() -> None:
    assert sorted(_operations()) == [
        "add_webhook", "answer_question", "cancel_job", "command", "delete_schedule",
        "drain_pool", "enable_webhook", "explain_job", "fire_schedule", "get_artifact",
        "get_capabilities", "get_command", "get_job", "get_ledger", "get_liveness", "get_logs",
        "get_metrics", "get_pool_health", "get_readiness", "get_scale", "get_schedule",
        "get_session", "get_webhook", "list_artifacts", "list_commands", "list_dead_letters",
        "list_deliveries", "list_jobs", "list_pools", "list_replica_sets", "list_schedules",
        "list_sessions", "list_webhooks", "pause_job", "pause_pool", "pause_schedule",
        "put_schedule", "reload_pool", "remove_webhook", "replay_dead_letters",
        "resend_deliveries", "resume_job", "resume_pool", "resume_schedule", "rotate_webhook",
        "submit_batch", "submit_job", "test_webhook", "undrain_pool", "watch_job",
    ]  # fmt: skip


@pytest.mark.req("API-2")
def test_every_id_in_a_path_is_declared_with_the_whole_rule_of_ids() -> None:
    for name, operation in _operations().items():
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path" and parameter["name"] != "sha256":
                assert parameter["schema"].items() >= ID_SCHEMA.items(), name


@pytest.mark.req("API-2", "API-3")
def test_every_error_answer_is_declared_as_the_error_body() -> None:
    for name, operation in _operations().items():
        assert {"400", "403", "413", "500"} <= set(operation["responses"]), name
        assert "422" not in operation["responses"], name
        for status, response in operation["responses"].items():
            assert response["headers"]["X-Correlation-Id"], name
            if int(status) >= 400:
                (schema,) = [kind["schema"]["$ref"] for kind in response["content"].values()]
                assert schema.endswith(("/ErrorBody", "/NotReady")), name


@pytest.mark.req("API-2", "API-1")
def test_the_bodies_that_routes_read_themselves_are_declared() -> None:
    document = openapi_document()
    taken = {
        name: operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition(
            "/"
        )[2]
        for name, operation in _operations().items()
        if "requestBody" in operation
    }

    assert taken == {
        "submit_job": "JobSpec",
        "submit_batch": "BatchRequest",
        "cancel_job": "SteerRequest",
        "pause_job": "SteerRequest",
        "resume_job": "SteerRequest",
        "answer_question": "AnswerRequest",
        "replay_dead_letters": "ReplayRequest",
        "add_webhook": "NewWebhook",
        "rotate_webhook": "RotateWebhook",
        "resend_deliveries": "ResendWebhook",
        "put_schedule": "ScheduleSpec",
        "command": "CommandRequest",
        "drain_pool": "DrainRequest",
        "pause_pool": "GateRequest",
        "resume_pool": "GateRequest",
    }
    assert set(taken.values()) <= set(document["components"]["schemas"])
    assert set(document["components"]["schemas"]["ErrorCode"]["enum"]) == set(ErrorCode)
