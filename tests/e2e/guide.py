"""The commands and lines of Python on a page of the documentation, run in their order as a reader would.

Blocks of `sh` and `python` are run; `bash` says that a block needs what no test has (a cluster).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.factories.images import chest_dicom, chest_png

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs/how-to"
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Each answer's status is written down, as curl itself takes a refusal for a success. Commands that need the database have
# a door of their own in `make run`.
_START = """set -eu -o pipefail
curl() { command curl -w '%{stderr}%{http_code}\\n' "$@" 2>> statuses; }
thorax() { case $1 in admin | backup) thorax-local "$@" ;; *) command thorax "$@" ;; esac }
"""
_POSTED = """import json
from datetime import UTC, datetime
from uuid import uuid4
from standardwebhooks import Webhook

now = datetime.now(UTC)
data = {"job_id": str(uuid4()), "study_id": str(uuid4()), "state": "succeeded", "error_code": None}
body = json.dumps({"type": "job.succeeded", "timestamp": now.isoformat(), "data": data})
signature = Webhook(Path("whsec").read_text().strip()).sign("msg", now, body)
headers = {"webhook-id": "msg", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
try:
"""
_OTHER_STATE = """cp -rp $THORAX_STATE .thorax.old
export THORAX_STATE=$PWD/.thorax
"""
_LAST_STUDY = 'curl -s $B/v1/jobs -H "Authorization: Bearer $TOKEN" | jq -r .items[0].study_id'


@dataclass(frozen=True)
class Guide:
    """What a page prints, the refusals that it shows, and what stands in the places of its examples."""

    says: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)


FOLLOWED = {
    ROOT / "docs/quickstart.md": Guide(instead={"make run\n": ""}),
    HOW_TO / "send-studies.md": Guide(
        says=(
            "succeeded",
            "pleural_effusion",
            "event: ",
            "unreadable_image",
            "unknown_parameter",
            "ratelimit:",
        ),
        refusals=("400",),
        instead={'maps["full"]': "numpy.ones(5)"},  # the tests' bundle is of format 1
    ),
    HOW_TO / "receive-webhooks.md": Guide(instead={"try:\n": _POSTED, "...  # answer 401": "raise"}),
    HOW_TO / "use-the-python-client.md": Guide(
        says=("Logged in",),
        instead={"--url https://thorax.example": '--url $B --user "$NAME" --password "$PASSWORD"'},
    ),
    HOW_TO / "manage-accounts.md": Guide(
        says=("ada@hospital.example", '"access_token"', "The new key signs from")
    ),
    HOW_TO / "keep-records.md": Guide(
        says=("rows in", "originals 3650"),
        instead={" TENANT": " $TENANT", " STUDY": f" $({_LAST_STUDY})"},
    ),
    HOW_TO / "upgrade-and-back-up.md": Guide(
        says=("Restored as platform",),
        instead={"/backups": "backups", "mv .thorax .thorax.old\n": _OTHER_STATE, "make run\n": ""},
    ),
    ROOT / "docs/operations.md": Guide(says=('"items":',)),
    HOW_TO / "read-files-offline.md": Guide(),
}
ELSEWHERE = {
    "send-from-a-pacs": "tests/e2e/test_pacs_page.py follows it, where Orthanc is installed",
    "what-the-numbers-mean": "tests/unit/docs/test_numbers.py runs it",
    "import-weights": "needs torch and a labelled collection",
    "run-with-compose": "needs Docker",
    "run-on-kubernetes": "needs a cluster",
}


def blocks(page: Path) -> list[tuple[str, str]]:
    """A page's blocks to be run, in their order: `sh` or `python`, and the text."""
    return _BLOCK.findall(page.read_text())


def _script(page: Path, instead: Mapping[str, str]) -> str:
    parts = [_START]
    for language, text in blocks(page):
        for example, real in instead.items():
            text = text.replace(example, real)  # noqa: PLW2901
        parts.append(text if language == "sh" else f"python3 - <<'END'\n{text}END\n")
    return "\n".join(parts)


def _clone(folder: Path, bundle: str) -> None:
    """What a reader has: a clone, in which the default bundle is a small one, and images."""
    (folder / "samples").symlink_to(ROOT / "samples")
    (folder / "models").mkdir()
    (folder / "models" / "default").symlink_to(bundle)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "images").mkdir()
    (folder / "images" / "chest.png").write_bytes(chest_png(4711))
    (folder / "pa.dcm").write_bytes(chest_dicom(4711))
    (folder / "pa2.dcm").write_bytes(chest_dicom(4712))


def follow(page: Path, folder: Path, given: Mapping[str, str]) -> str:
    """Run a page in an empty folder with the variables that it takes for given; what it printed.

    Fails the test where a command fails, or an answer is an error that the page does not show.
    """
    if not all(map(shutil.which, ("curl", "jq"))):
        raise AssertionError("needs curl and jq")
    _clone(folder, given["BUNDLE"])
    guide = FOLLOWED[page]
    script = _script(page, {**guide.instead, "http://127.0.0.1:8080": given["B"]})
    paths = {"PATH": f"{sys.prefix}/bin:{os.environ['PATH']}", "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-c", script],
        check=False,
        cwd=folder,
        env={**os.environ, **given, **paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    statuses = (folder / "statuses").read_text().split() if (folder / "statuses").exists() else []
    assert tuple(status for status in statuses if status >= "400") == guide.refusals, (statuses, done.stdout)
    return done.stdout
