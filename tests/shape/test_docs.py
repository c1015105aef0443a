"""The pages tell the truth: links lead somewhere, names exist, specs are valid, code blocks run.

Every check is a function from pages to faults, so that a planted fault shows that it can fail. A `sh`
block of the README, or one below `<!-- runnable -->` on another page, is run in a home of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from actors.start import ROLES
from contracts import defaults
from contracts.errors import OrchError
from contracts.events import EventType, Frame
from contracts.spec import parse_spec
from contracts.states import Event
from orch.adapters.sweep import WORKER_MARK
from orch.cli.documents import parse_document
from orch.cli.help import help_text
from orch.cli.main import COMMANDS, GROUPS, build_app
from orch.settings import _AGENT_NAMES
from orch.telemetry import conventions
from tests.shape.pages import CODE, ROOT, Block, Page, pages
from tests.shape.words import capitals, vocabulary, words_of_bench

README = "README.md"
MAP = "docs/README.md"
ACTOR_LINES_MAX = 40
README_LINES_MAX = 200
RUN_S_MAX = 100

# Where each area ends; CLI-7 was never given out.
LAST_OF_AREA = (
    "ARC 3 CON 4 SEC 3 JOB 6 ADM 6 SCH 7 LSE 7 RUN 9 REA 4 FBK 6 CTL 6 EVT 5 API 7 CFG 3 MET 5 SIM 5 PERF 3 "
    "CHK 2 APR 2 BUD 3 ENV 1 PCK 4 ACC 2 RPT 1 BRG 1 WRP 1 SID 1 SDK 1 RET 1 CLI 8 THR 1 TRG 3 TMX 1 SFG 1 "
    "ACT 2 CRD 1 PUB 1 POL 1 LIM 1 SUB 1 MCP 1 UI 1 DEP 2 REL 2 ADP 1 DOC 3"
).split()
IDS = {
    f"{area}-{n}"
    for area, last in zip(LAST_OF_AREA[::2], LAST_OF_AREA[1::2], strict=True)
    for n in range(1, int(last) + 1)
} - {"CLI-7"}

EVENTS = {event.value for kind in (EventType, Frame, Event) for event in kind}

PATH = re.compile(r"(?<![\w./<-])(?:actors|contracts|docs|ops|orch|tests)/[\w./-]*\w/?(?![\w<*{])")
SNAKE = re.compile(r"(?<![\w./:-])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w.(/])")
UPPER = re.compile(r"(?<![\w.])(?!ORCH_)[A-Z]+(?:_[A-Z]+)+(?!\w)")
ENVIRONMENT = re.compile(r"\bORCH_[A-Z][A-Z_]*\b")
GROUP = "config |" + " |".join(name for name, _, _ in GROUPS) + " "
CALL = re.compile(rf"(?<![\w./-])orch ((?:{GROUP})?[a-z][a-z-]*)([^\n|;&)`]*)")
ROLE = re.compile(r"python -m actors ([a-z]+)")
EVENT = re.compile(
    r"(?:\b[Ee]vents?|\b[Ll]edgers? (?:entry|says?|has|have|shows?|holds?)|\bledger it is|\bentry)"
    r"\s`([a-z_]+)`"
)
"""Where a sentence calls it one; other words in code style are not known to be events."""
TARGET = re.compile(r"(?<![\w.])make ([a-z][a-z-]*)(?![\w-])(?! [a-z])")
REQUIREMENT = re.compile(r"^- \*\*([A-Z]{2,4}-\d+)\*\*(.*)$", re.MULTILINE)
STATUS = re.compile(r" \*(built|not yet)\*: \S|( \*partly\*: \S.*Missing: \S)")


def page(text: str, name: str = "docs/planted.md") -> Page:
    return Page(name, text)


# ---------------------------------------------------------------- links


def broken_links(one: Page, known: Mapping[str, Page]) -> list[str]:
    faults = []
    for path, anchor in one.links():
        if path not in known and not (ROOT / path).exists():
            faults.append(f"{one.name}: {path} does not exist")
        elif anchor and path in known and anchor not in known[path].anchors:
            faults.append(f"{one.name}: {path} has no heading #{anchor}")
    return faults


def unreachable(known: Mapping[str, Page]) -> set[str]:
    reached: set[str] = set()
    ahead = [README, MAP]
    while ahead:
        name = ahead.pop()
        if name in known and name not in reached:
            reached.add(name)
            for path, _ in known[name].links():
                ahead += [path, f"{path}/README.md"]
    return set(known) - reached


@pytest.mark.req("DOC-1")
@pytest.mark.parametrize("name", pages())
def test_every_link_leads_somewhere(name: str) -> None:
    assert not broken_links(pages()[name], pages())


@pytest.mark.req("DOC-1")
def test_every_page_can_be_reached_from_the_readme_or_the_map() -> None:
    assert not unreachable(pages())


@pytest.mark.parametrize(
    "link", ["gone.md", "README.md#no-such-heading", "#not-here", "../orch/gone.py"]
)
def test_a_link_to_nowhere_is_noticed(link: str) -> None:
    assert broken_links(page(f"# Here\n[x]({link}) [y](#here) [z](https://example.org)"), pages())


def test_an_orphan_is_noticed() -> None:
    orphan = page("nobody links here")
    assert unreachable({**pages(), orphan.name: orphan}) == {orphan.name}


# ---------------------------------------------------------------- names


@cache
def _flags_of(command: str) -> frozenset[str]:
    told = help_text(build_app(), [*command.split(), "--help"])
    return frozenset({"--help", *re.findall(r"--[a-z-]+", told)})


def _flag_faults(command: str, rest: str) -> list[str]:
    known = _flags_of(command)
    return [
        f"orch {command} {flag}"
        for flag in re.findall(r"(?<!\S)--[a-z-]+", rest)
        if flag not in known
    ]


def _call_faults(text: str) -> list[str]:
    text = text.replace("docker run --entrypoint orch orch", "orch")
    text = text.replace("docker run orch", "python -m actors")
    commands = {name for name, _, _ in COMMANDS} | {"config show"}
    commands |= {f"{group} {name}" for group, _, listed in GROUPS for name, _, _ in listed}
    faults = []
    for command, rest in CALL.findall(text):
        if command not in commands:
            faults.append(f"orch {command}")
        else:
            faults += _flag_faults(command, rest)
    faults += [
        f"actors {role}" for role in ROLE.findall(text) if role not in (*ROLES, "up", "doctor")
    ]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    return faults + [f"make {name}" for name in TARGET.findall(text) if name not in targets]


def unknown_names(one: Page) -> list[str]:
    """Whatever a page names in code style and nobody else knows."""
    environment = {row.env for row in defaults.DEFAULTS.values()} | {*defaults.LOCATIONS}
    environment |= {*_AGENT_NAMES, WORKER_MARK, *conventions.VARIABLES}
    faults = [name for name in ENVIRONMENT.findall(one.text) if name not in environment]
    faults += [f"event {name}" for name in EVENT.findall(one.prose) if name not in EVENTS]
    known = vocabulary() | capitals() | {*defaults.FOREIGN}
    if one.name.startswith("bench/"):
        known |= words_of_bench()
    for text in CODE.findall(one.prose):
        paths = PATH.findall(text)
        faults += [path for path in paths if not (ROOT / path).exists()]
        rest = PATH.sub("", text)
        faults += [word for word in SNAKE.findall(rest) if word not in known]
        faults += [word for word in UPPER.findall(rest) if word not in known]
    for text in one.code:
        faults += _call_faults(text)
    for block in one.blocks:
        if block.language == "toml":
            faults += [key for key in tomllib.loads(block.text) if key not in defaults.DEFAULTS]
    return faults


@pytest.mark.req("DOC-1", "EVT-5", "CTL-6")
@pytest.mark.parametrize("name", pages())
def test_every_name_in_code_style_exists(name: str) -> None:
    assert not unknown_names(pages()[name])


@pytest.mark.parametrize(
    "text",
    [
        "the event `job_exploded`", "the event `lease_ms`", "the event `exploded`",
        "the job's ledger says `repairedd`", "on the ledger it is `repairedd`", "its ledger has `ended`",
        "a ledger entry `repairedd`", "the entry `repairedd` of its ledger", "both ledgers say\n`repairedd`",
        "the code `QUEUE_TOO_FULL`", "the setting `lease_msec`", "`docker run orch jester`",
        "`docker run --entrypoint orch orch sbmit`", "`ORCH_LAESE_MS`", "the metric `orch_laughs_total`",
        "`orch sbmit`", "`orch up --detatch`", "`orch config sho`", "`python -m actors jester`", "`make tea`",
        "`orch/store/gone.py`", "```toml\nleese_ms = 1\n```", "```sh\norch wait x --for-ever\n```",
    ],
)  # fmt: skip
def test_a_name_that_nobody_knows_is_noticed(text: str) -> None:
    assert unknown_names(page(text))


# ---------------------------------------------------------------- documents


def bad_documents(one: Page) -> list[str]:
    """JSON and YAML blocks that do not parse, and job specs that would be refused."""
    faults = []
    for block in one.blocks:
        if block.language not in ("json", "yaml"):
            continue
        try:
            document = parse_document(block.text.encode(), name=f"{one.name}.{block.language}")
            if isinstance(document, dict) and "adapter" in document:
                parse_spec(document)
        except OrchError as error:
            faults.append(f"{one.name}: {error.message}")
    return faults


@pytest.mark.req("DOC-1")
@pytest.mark.parametrize("name", pages())
def test_documents_parse_and_job_specs_are_valid(name: str) -> None:
    assert not bad_documents(pages()[name])


@pytest.mark.parametrize(
    "block",
    [
        "```json\n{,}\n```",
        "```yaml\na: 1\na: 2\n```",
        "```yaml\nname: x\nadapter: {name: no, config: {}}\n```",
    ],
)
def test_a_document_that_would_be_refused_is_noticed(block: str) -> None:
    assert bad_documents(page(block))


# ---------------------------------------------------------------- sizes and the specification


def too_long(one: Page) -> bool:
    bound = README_LINES_MAX if one.name == README else ACTOR_LINES_MAX
    return (one.name == README or one.name.startswith("actors/")) and one.text.count("\n") > bound


def spec_faults(text: str) -> list[str]:
    """Requirements that are invented, doubled, missing or without a status."""
    rows = REQUIREMENT.findall(text)
    ids = [row[0] for row in rows]
    faults = [f"{id_}: invented" for id_ in set(ids) - IDS] + [
        f"{id_}: missing" for id_ in IDS - set(ids)
    ]
    faults += [f"{id_}: twice" for id_ in set(ids) if ids.count(id_) > 1]
    return faults + [f"{id_}: no status" for id_, rest in rows if not STATUS.match(rest)]


def claimed(source: str) -> set[str]:
    """Ids that a test says it proves."""
    marks = re.findall(r"mark\.req\(([^)]*)\)", source)
    return {id_ for mark in marks for id_ in re.findall(r"['\"]([^'\"]+)['\"]", mark)}


@cache
def sources() -> Mapping[str, str]:
    paths = sorted(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def unproven(text: str, proven: set[str]) -> set[str]:
    """Requirements that are said to be built, though no test names them."""
    return {id_ for id_, rest in REQUIREMENT.findall(text) if rest.startswith(" *built*")} - proven


def spec_text() -> str:
    return "".join(one.text for name, one in pages().items() if name.startswith("docs/spec/"))


def test_the_readme_and_the_actors_pages_are_short() -> None:
    assert not [name for name, one in pages().items() if too_long(one)]
    assert too_long(page("\n" * 41, "actors/x/README.md"))
    assert too_long(page("\n" * 201, README))


@pytest.mark.req("DOC-1")
def test_the_specification_holds_every_requirement_once_with_its_status() -> None:
    assert not spec_faults(spec_text())


@pytest.mark.parametrize(
    ("was", "becomes"),
    [("**JOB-3**", "**JOB-33**"), ("**JOB-3**", "**JOB-4**"), ("- **UI-1** *not yet*", "- **UI-1** *soon*"),
     ("Missing: goldens of whole documents.", "")],
)  # fmt: skip
def test_a_specification_that_lies_is_noticed(was: str, becomes: str) -> None:
    assert was in spec_text()
    assert spec_faults(spec_text().replace(was, becomes, 1))


@pytest.mark.req("DOC-1")
def test_tests_prove_only_what_is_asked_for_and_what_is_built_is_proven() -> None:
    assert not {name: ids for name, text in sources().items() if (ids := claimed(text) - IDS)}
    assert not unproven(spec_text(), {id_ for text in sources().values() for id_ in claimed(text)})


def test_an_invented_or_unproven_requirement_is_noticed() -> None:
    assert claimed('@pytest.mark.req("JOB-3", "JOB-99")') - IDS == {"JOB-99"}
    assert unproven("- **JOB-3** *built*: x\n- **JOB-4** *built*: y", {"JOB-3"}) == {"JOB-4"}


# ---------------------------------------------------------------- blocks that run


def script_of(one: Page) -> str:
    """The runnable blocks of a page, one after the other."""
    wanted: Callable[[Block], bool] = lambda block: block.is_marked  # noqa: E731 - one of two rules
    if one.name == README:
        wanted = lambda block: not block.text.startswith("make ")  # noqa: E731 - the other
    return "".join(block.text for block in one.blocks if block.language == "sh" and wanted(block))


def environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "HOME": str(folder), "ORCH_HOME": str(folder / "home")}


def run_script(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """As a reader would, stopping at the first failure; no stack is left behind."""
    env = environment(folder)
    try:
        return subprocess.run(
            ["sh", "-euc", script],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=RUN_S_MAX,
            check=False,
        )
    finally:
        subprocess.run(["orch", "down"], cwd=folder, env=env, capture_output=True, check=True)


@pytest.mark.req("DOC-1")
@pytest.mark.timeout(RUN_S_MAX + 20)  # some seconds on a machine that does nothing else
@pytest.mark.parametrize("name", [name for name, one in pages().items() if script_of(one)])
def test_the_blocks_of_a_page_run(name: str, tmp_path: Path) -> None:
    script = script_of(pages()[name])
    if "curl " in script and shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    ended = run_script(script, tmp_path)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    if name == README:
        for said in (
            "exit code 4",
            'publishing to "staging"',
            "notes.txt",
            "step_finished",
            "canceled",
        ):
            assert said in ended.stdout, f"{said!r} is not in\n{ended.stdout}"


def test_a_block_that_fails_is_noticed(tmp_path: Path) -> None:
    planted = page("```sh\nmake demo\n```\n```sh\norch status gone\ntrue\n```", README)
    assert run_script(script_of(planted), tmp_path).returncode != 0
