"""A missing program is told, and is a failure where it was promised."""

from __future__ import annotations

import pytest

from tests.deploy.tools import INSTALL, absent, must_be_here
from tests.shape.pages import pages


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize(
    ("ci", "expect", "must"),
    [("true", "helm buildah", True), ("true", "", False), ("true", "buildah", False), ("", "helm", False)],
)  # fmt: skip
def test_a_program_is_promised_in_ci_by_its_name_alone(ci: str, expect: str, must: bool) -> None:
    assert must_be_here("helm", {"CI": ci, "EXPECT": expect}) is must


@pytest.mark.req("DEP-1")
def test_what_is_missing_is_skipped_with_how_to_get_it_and_fails_where_it_was_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CI", "false")
    with pytest.raises(pytest.skip.Exception, match="no helm here: pip install helm-python-sdk"):
        absent("helm")
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("EXPECT", "hadolint helm")
    with pytest.raises(pytest.fail.Exception, match="EXPECT names helm"):
        absent("helm")


@pytest.mark.req("DEP-1", "DOC-1")
def test_the_page_for_developers_says_of_each_how_it_is_installed() -> None:
    page = pages()["docs/development.md"].text
    assert [line for line in INSTALL.values() if f"`{line}`" not in page] == []
