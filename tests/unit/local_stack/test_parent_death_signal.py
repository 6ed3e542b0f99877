"""What a child is when its program begins; that it dies with its parent, `test_stores` tries on real servers."""

import os
import subprocess

from local_stack.parent_death_signal import dying_with_us


def run(*argv: str, not_root: bool = False) -> "subprocess.CompletedProcess[str]":
    command = dying_with_us(list(argv), not_root=not_root)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_program_ignores_no_signal_that_its_parent_does_not_ignore() -> None:
    plain = subprocess.run(
        ["grep", "SigIgn", "/proc/self/status"], capture_output=True, text=True, check=True
    )
    assert run("grep", "SigIgn", "/proc/self/status").stdout == plain.stdout


def test_it_is_not_root_where_it_must_not_be() -> None:
    assert run("id", "-u").stdout == f"{os.geteuid()}\n"
    assert run("id", "-u", not_root=True).stdout != "0\n"


def test_a_program_that_is_missing_is_named() -> None:
    missing = run("thorax-is-not-installed")
    assert missing.returncode == 1
    assert missing.stderr.startswith("thorax-is-not-installed was not started: [Errno 2]")
