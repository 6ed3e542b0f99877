"""The documentation is true about names: links, paths, modules and settings exist, and decisions have date and status."""

import importlib.util
import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings
from tests.e2e import guide

from aggregator.config import AggregatorSettings
from auth_service.config import AuthSettings
from gateway.config import GatewaySettings
from gateway.dimse.config import DimseSettings
from gateway.dimse.contexts import DOCUMENTS, RADIOGRAPHS, TRANSFER_SYNTAXES, VERIFICATION
from gateway.jobs.events import STREAMS_PER_TENANT
from local_stack.settings import LocalSettings
from model_worker.config import WorkerSettings
from thorax.errors import Code
from thorax.settings import Settings
from thorax.work.worker import LedgerSettings

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "web/README.md", *ROOT.glob("findings/*.md")]
)
DECISIONS = sorted(ROOT.glob("docs/adr/0*.md"))
FOLDERS = tuple(f"{path.name}/" for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
BUILT = (
    "web/dist",
    "build/",
    "models/our-hospital",
    "models/x",
    "models/y",
    "models/ours",
    "secrets/",
)  # by commands that the pages name
PACKAGES = (
    "thorax",
    "gateway",
    "auth_service",
    "model_worker",
    "aggregator",
    "local_stack",
    "thorax_offline",
    "training",
)


def names(page: Path) -> list[str]:
    """What a page quotes as code outside its blocks of commands; of the changelog only what is not released yet."""
    text = page.read_text().partition("## [0.1.0]")[0] if page.name == "CHANGELOG.md" else page.read_text()
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as Git hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not fragment or fragment in anchors(found), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_module_that_is_named_exists(page: Path) -> None:
    for name in names(page):
        if name.startswith(FOLDERS) and " " not in name and not name.startswith(BUILT):
            assert list(ROOT.glob(re.sub(r"[<{]\w+[>}]|…", "*", name))), name
        elif re.fullmatch(rf"({'|'.join(PACKAGES)})(\.[a-z_]+)+", name) and not name.endswith(
            (".css", ".js")
        ):
            modules = [name, name.rpartition(".")[0]]
            assert any(_spec(module) for module in modules), name


def _spec(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return (ROOT / "training/src" / module.replace(".", "/")).with_suffix(".py").exists()


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text() + (ROOT / "docs/adr/README.md").read_text()
    for page in ROOT.glob("docs/**/*.md"):
        assert page.name == "README.md" or f"{page.name})" in index, page


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_decisions_have_one_form(page: Path) -> None:
    lines = page.read_text().splitlines()
    number = page.name[:4]
    assert re.fullmatch(rf"# {number} \S.*", lines[0])
    assert re.fullmatch(r"- Date: 2\d{3}-\d\d-\d\d", lines[2])
    assert re.fullmatch(r"- Status: (proposed|accepted|superseded by \d{4})", lines[3])
    assert [line for line in lines if line.startswith("## ")] == [
        "## Question",
        "## Decision",
        "## Why",
        "## Consequences",
    ]
    date = lines[2].removeprefix("- Date: ")
    assert f"| [{number}]({page.name}) | {lines[0][7:]} | {date} |" in (page.parent / "README.md").read_text()


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.stem)
def test_commands_on_pages_are_run_by_a_test(page: Path) -> None:
    assert not guide.blocks(page) or page in guide.FOLLOWED or page.stem in guide.ELSEWHERE


@pytest.mark.parametrize(
    ("words", "code", "number"),
    [
        ("files of one upload", Code.TOO_MANY_FILES, GatewaySettings.model_fields["max_files"].default),
        ("bytes of one upload", Code.BODY_TOO_LARGE, GatewaySettings.model_fields["max_body_bytes"].default),
        (
            "open jobs of a tenant",
            Code.QUOTA_EXCEEDED,
            GatewaySettings.model_fields["open_jobs_per_tenant"].default,
        ),
        ("steps that wait", Code.OVERLOADED, GatewaySettings.model_fields["high_water_steps"].default),
        (
            "uploads to the open API",
            Code.RATE_LIMITED,
            GatewaySettings.model_fields["anonymous_jobs_per_hour"].default,
        ),
        ("event streams of a tenant", Code.RATE_LIMITED, STREAMS_PER_TENANT),
    ],
)
def test_the_guide_names_the_limits(words: str, code: Code, number: int) -> None:
    page = (ROOT / "docs/how-to/send-studies.md").read_text()
    assert re.search(rf"\| {words}[^|]* \| {number:,} \| {code.status} `{code}` \|", page)


SECTIONS: dict[str, type[BaseSettings]] = {
    "make run": LocalSettings,
    "Every service": Settings,
    "Processes that take work": LedgerSettings,
    "gateway": GatewaySettings,
    "dimse": DimseSettings,
    "auth-service": AuthSettings,
    "model-worker": WorkerSettings,
    "aggregator and sweeper": AggregatorSettings,
}


@pytest.mark.parametrize("title", SECTIONS)
def test_every_setting_is_documented(title: str) -> None:
    text = (ROOT / "docs/reference/settings.md").read_text()
    section = re.split(r"^## ", text.partition(f"## {title}\n")[2], flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    told = {name.removeprefix("THORAX_").lower() for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    inherited = {name for base in SECTIONS[title].__bases__ for name in getattr(base, "model_fields", {})}
    assert told == SECTIONS[title].model_fields.keys() - inherited


@pytest.mark.parametrize("script", sorted(ROOT.glob("findings/*.sh")), ids=lambda script: script.stem)
def test_findings_begin_alike_and_are_listed(script: Path) -> None:
    first, *comments = script.read_text().partition("set -euo pipefail")[0].splitlines()
    assert first == "#!/usr/bin/env bash"
    told = "\n".join(comments)
    for word in ("# Expected: ", "# Happens:  ", "# Versions: "):
        assert word in told, word
    assert re.search(r"Date: 2\d{3}-\d\d-\d\d\.", told)
    assert f"]({script.name})" in (script.parent / "README.md").read_text()


def test_the_conformance_statement_names_what_is_negotiated() -> None:
    scp = (ROOT / "docs/reference/conformance.md").read_text().partition("## STOW")[0]
    told = re.findall(r"1\.2\.840\.10008[.\d]*\d", scp)
    assert sorted(told) == sorted([VERIFICATION, *RADIOGRAPHS, *DOCUMENTS, *TRANSFER_SYNTAXES])
    for name, value in re.findall(r"`THORAX_(\w+)` \((\d[\d.]*)\)", scp):
        assert str(DimseSettings.model_fields[name.lower()].default) == value, name
