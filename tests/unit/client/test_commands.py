"""What `thorax analyze` writes of each file, and what it makes of that the next time; without a platform."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from thorax_client.commands import main
from thorax_client.commands.analyze import Options, _key
from thorax_client.commands.login import store
from thorax_client.commands.rows import COLUMNS, Outcome, Table, done
from thorax_client.errors import ThoraxError
from thorax_client.flows import _multipart

LATIN = Path(os.fsdecode(b"caf\xe9.png"))


def test_a_name_that_is_not_utf8_has_a_row_a_line_and_a_job(tmp_path: Path) -> None:
    outcome = Outcome(LATIN, error=ThoraxError("Refused."))
    for _ in range(2):
        with Table(tmp_path / "out.csv", done(tmp_path / "out.csv")) as table:
            table.add(outcome)
    assert b"\ncaf\xe9.png," in (tmp_path / "out.csv").read_bytes()
    for told in (outcome.line(), outcome.as_json()):
        assert "caf\N{REPLACEMENT CHARACTER}.png" in told
        assert told.encode()
    assert _key(LATIN, b"", Options(True, None, False, False, False, 1, 1))
    assert b'filename="caf?.png"' in _multipart([(LATIN.name, b"")], {})[0]


@pytest.mark.parametrize(("sent", "kept"), [(False, ["read.png"]), (True, ["read.png", "sent.png"])])
def test_what_was_only_sent_has_no_result_yet(tmp_path: Path, sent: bool, kept: list[str]) -> None:
    row = dict.fromkeys(COLUMNS, "")
    rows = [{"image": "refused.png"}, {"image": "read.png", "job": "1", "edema": "0.1", "atelectasis": "0.1"}]
    rows.append({"image": "sent.png", "job": "2"})
    lines = [",".join(COLUMNS), *(",".join((row | told).values()) for told in rows)]
    (tmp_path / "out.csv").write_text("\n".join(lines) + "\n")
    assert [row["image"] for row in done(tmp_path / "out.csv", sent=sent)] == kept


@pytest.mark.parametrize("kept", ["", "{}", "[]"])
def test_a_login_that_was_interrupted_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    store().parent.mkdir(parents=True)
    store().write_text(kept)
    ended = CliRunner().invoke(main, ["models"])
    assert ended.exit_code == 1
    assert ended.stderr == f"Error: {store()} is not a login. Run: thorax login\n"


@pytest.mark.parametrize("words", [["analyze", __file__, "--at-once", "0"], ["jobs", "--limit", "0"]])
def test_nothing_at_a_time_is_refused(words: list[str]) -> None:
    assert CliRunner().invoke(main, words).exit_code == 2
