"""Licences of what we ship: all are allowed, and one that is not, or that nobody knows, is told by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.release import NotReleasableError, ended
from ops.release.licences import Policy, judged, licence_of, policy
from ops.release.locked import Locked, installed, locked
from ops.release.spdx import canonical, fits

RULES = Policy.model_validate(
    {
        "allowed": ["MIT", "BSD-3-Clause"],
        "words": {"MIT License": "MIT", "License :: OSI Approved :: MIT License": "MIT"},
    }
)
MIT = "License :: OSI Approved :: MIT License"
GPL = "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"


def planted(folder: Path, *lines: str, name: str = "some-package", version: str = "1.0") -> Locked:
    """A distribution on disk, as an installer leaves it; and the lock's entry for it."""
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    head = ("Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}")
    (about / "METADATA").write_text("\n".join((*head, *lines)) + "\n\nIts description.\n")
    return Locked(name, version, "", ("0" * 64,))


def faults(folder: Path, shipped: list[Locked], rules: Policy = RULES) -> list[str]:
    return judged(shipped, installed([str(folder)]), rules)[1]


@pytest.mark.req("REL-1", "REL-2")
def test_all_that_we_ship_is_allowed_and_told_line_by_line() -> None:
    lines, told = judged(locked(), installed(), policy())
    assert told == []
    assert [line.split()[0] for line in lines] == [one.name for one in locked()]
    assert not [line for line in lines if "unknown" in line]


@pytest.mark.req("REL-1", "REL-2")
def test_a_forbidden_licence_is_one_line_with_name_version_and_licence(tmp_path: Path) -> None:
    good = planted(tmp_path, "License-Expression: MIT", name="good")
    bad = planted(tmp_path, "License-Expression: AGPL-3.0-or-later", name="bad", version="2.1")
    assert faults(tmp_path, [bad, good]) == [
        "bad 2.1: AGPL-3.0-or-later is not allowed (License-Expression)"
    ]


@pytest.mark.req("REL-1")
@pytest.mark.parametrize(
    ("lines", "expression"),
    [
        (["License-Expression: mit"], "MIT"),
        (["License-Expression: MIT", f"Classifier: {GPL}"], "MIT"),
        (["License: MIT"], "MIT"),
        (["License: MIT License", f"Classifier: {MIT}"], "MIT"),
        (["License: UNKNOWN", f"Classifier: {MIT}"], "MIT"),
        ([f"Classifier: {MIT}", "Classifier: License :: OSI Approved"], "MIT"),
        ([f"Classifier: {MIT}", "License: Permission is hereby granted", "        to all."], "MIT"),
        (["License: MIT", f"Classifier: {GPL}"], None),
        ([f"Classifier: {MIT}", f"Classifier: {GPL}"], None),
        ([f"Classifier: {GPL}"], None),
        (["License: see the file"], None),
        (["License-Expression: MIT OR"], None),
        (["License-File: LICENSE"], None),
        ([], None),
    ],
)
def test_what_metadata_says_is_one_licence_or_unknown(
    tmp_path: Path, lines: list[str], expression: str | None
) -> None:
    one = planted(tmp_path, *lines)
    found = installed([str(tmp_path)])[one.name]
    assert licence_of(one, found, RULES).expression == expression
    told = faults(tmp_path, [one])
    assert told == [] if expression else len(told) == 1
    assert all(line.startswith("some-package 1.0: licence unknown (") for line in told)


@pytest.mark.req("REL-1")
@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ("MIT", True), ("ISC", False), ("MIT AND ISC", False), ("MIT OR ISC", True), ("ISC OR MIT", True),
        ("ISC AND (MIT OR BSD-3-Clause)", False), ("BSD-3-Clause AND (MIT OR ISC)", True),
        ("(ISC OR MIT) AND (ISC OR MIT)", True), ("MIT AND ISC OR BSD-3-Clause", True),
        ("(MIT OR (ISC AND GPL-2.0-only))", True), ("LicenseRef-Ours", False),
        ("MIT WITH Classpath-exception-2.0", False), ("GPL-2.0-only WITH Classpath-exception-2.0", True),
    ],
)  # fmt: skip
def test_of_an_and_every_part_has_to_be_allowed_of_an_or_one(text: str, is_taken: bool) -> None:
    expression = canonical(text)
    assert expression is not None
    allowed = {"MIT", "BSD-3-Clause", "GPL-2.0-only WITH Classpath-exception-2.0"}
    assert fits(expression, allowed) is is_taken


@pytest.mark.parametrize("text", ["", "MIT OR", "Nonsense-1.0", "(MIT", "MIT\nMIT", "MIT OR " * 99])
def test_what_is_no_expression_is_none(text: str) -> None:
    assert canonical(text) is None


# ---------------------------------------------------------------- our own list


def rules(**more: object) -> Policy:
    return Policy.model_validate({**RULES.model_dump(), **more})


STATED = {"version": "1.0", "licence": "MIT", "why": "its licence file says so"}
EXCEPTED = {"licence": "MPL-2.0", "why": "shipped as it comes, for a test"}


@pytest.mark.req("REL-1")
def test_what_was_read_in_a_package_counts_for_that_version_only(tmp_path: Path) -> None:
    known = rules(stated={"some-package": STATED})
    one = planted(tmp_path, "License: see the file")
    assert faults(tmp_path, [one], known) == []
    later = Locked(one.name, "1.1", "", one.hashes)
    assert faults(tmp_path, [later], known) == [
        "some-package 1.1: its licence was read at 1.0: read it again, and state it"
    ]
    forbidden = rules(stated={"some-package": {**STATED, "licence": "GPL-3.0-only"}})
    assert faults(tmp_path, [one], forbidden) == [
        "some-package 1.0: GPL-3.0-only is not allowed (stated)"
    ]


@pytest.mark.req("REL-1")
def test_an_exception_is_for_one_package_and_one_licence_and_leaves_when_it_is_not_needed(
    tmp_path: Path,
) -> None:
    known = rules(excepted={"some-package": EXCEPTED})
    one = planted(tmp_path / "a", "License-Expression: MPL-2.0")
    other = planted(tmp_path / "a", "License-Expression: MPL-2.0", name="other")
    assert faults(tmp_path / "a", [one], known) == []
    assert faults(tmp_path / "a", [one, other], known) == [
        "other 1.0: MPL-2.0 is not allowed (License-Expression)"
    ]
    changed = planted(tmp_path / "b", "License-Expression: MPL-2.0 AND ISC")
    assert faults(tmp_path / "b", [changed], known) == [
        "some-package 1.0: MPL-2.0 AND ISC is not allowed (License-Expression)"
    ]
    harmless = planted(tmp_path / "c", "License-Expression: MIT")
    assert faults(tmp_path / "c", [harmless], known) == [
        "some-package 1.0: excepted, and allowed without: take it out"
    ]


@pytest.mark.req("REL-1")
def test_what_is_not_here_or_is_another_version_is_unknown_and_a_leftover_is_told(
    tmp_path: Path,
) -> None:
    one = planted(tmp_path, "License-Expression: MIT", version="0.9")
    locked_later = Locked(one.name, "1.0", "", one.hashes)
    gone = Locked("gone", "1.0", "", one.hashes)
    known = rules(stated={"no-more": STATED})
    assert faults(tmp_path, [gone, locked_later], known) == [
        "no-more: stated in licences.toml, and not shipped: take it out",
        "gone 1.0: licence unknown (it is not installed here): read it, and state it in licences.toml",
        "some-package 1.0: licence unknown (0.9 is installed): read it, and state it in licences.toml",
    ]


@pytest.mark.req("REL-1")
@pytest.mark.parametrize(
    "text",
    [
        "allowed = [",
        'allowed = ["Free Beer"]',
        'allowed = ["MIT"]\nforbidden = ["GPL-3.0-only"]',
        'allowed = ["MIT"]\n[stated.x]\nversion = "1"\nlicence = "MIT"',
        'allowed = ["MIT"]\n[excepted.x]\nlicence = "MPL-2.0"\nwhy = "so"',
    ],
    ids=["not TOML", "no licence", "an unknown key", "no reason", "a reason that is none"],
)
def test_a_list_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "licences.toml"
    path.write_text(text)
    with pytest.raises(NotReleasableError, match=r"^licences\.toml cannot be read: [^\n]+$"):
        policy(path)

    def act() -> None:
        policy(path)

    assert ended(act) == 1
    assert capsys.readouterr().err.startswith("orch: licences.toml cannot be read")


@pytest.mark.req("REL-1")
@pytest.mark.parametrize(
    "text",
    ["anyio\n", "anyio>=4\n", f"anyio>=4 --hash=sha256:{'0' * 64}\n", "anyio==4.0\n",
     f"anyio==4.* --hash=sha256:{'0' * 64}\n", f"a b c --hash=sha256:{'0' * 64}\n",
     f"anyio @ file:///x.whl --hash=sha256:{'0' * 64}\n"],
    ids=["a name", "a bound", "a bound with a hash", "no hash", "many versions", "no entry", "an address"],
)  # fmt: skip
def test_a_lock_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "requirements.lock"
    path.write_text(text)
    with pytest.raises(NotReleasableError, match="lock"):
        locked(path)
