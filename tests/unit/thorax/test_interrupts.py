"""Ctrl-C of `thorax` is one line and 130, however early it comes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.factories.patience import PATIENCE_S

import thorax

RUN = "import sys; sys.argv = ['thorax', 'migrate']; from thorax.commands.entry import main; main()"


@pytest.mark.parametrize("interrupted", ["click", "sqlalchemy"])
def test_ctrl_c_during_the_imports_is_one_line(tmp_path: Path, interrupted: str) -> None:
    (tmp_path / f"{interrupted}.py").write_text("raise KeyboardInterrupt\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


def test_the_entry_point_imports_nothing_before_it_looks_for_ctrl_c() -> None:
    code = (
        "import sys; old = {*sys.modules}; import thorax.commands.entry; print(*sorted({*sys.modules} - old))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(thorax.__file__).parent.parent)}
    bare = [sys.executable, "-S", "-c", code]  # without what the environment's .pth files import
    done = subprocess.run(bare, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout.split() == ["thorax", "thorax.commands", "thorax.commands.entry"]
