"""How a child never outlives the process that started it: the kernel sends it a signal when that one dies.

What must happen in the child before its program runs, this file does, run as a program of its own: Python code between
fork and exec (`preexec_fn`) can meet a lock that another thread held at the fork, and tells nobody why it failed.
Linux only. The death signal belongs to the *thread* that started the child: do that in the main thread.
"""

import ctypes
import functools
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_UNPRIVILEGED = 1000
NOBODY = 65534


def dying_with_us(
    argv: list[str], death: signal.Signals = signal.SIGKILL, *, not_root: bool = False
) -> list[str]:
    """The command that runs `argv` as a process to which the kernel sends `death` when this process dies, however it dies.

    `not_root` also gives up being root, if we are. Start it with `start_new_session=True`, which keeps the terminal's
    Ctrl-C from it: stopping it is its parent's business.
    """
    user = "same"
    if not_root and os.geteuid() == 0:
        user = "namespace" if can_unshare() else "nobody"
    return [*_prepared(user, death), *argv]


@functools.cache
def can_unshare() -> bool:
    """Whether this machine lets root make a user namespace (containers often don't)."""
    import subprocess  # which the child does not need

    command = [*_prepared("namespace", signal.SIGKILL), "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _prepared(user: str, death: signal.Signals) -> list[str]:
    return [sys.executable, "-I", "-S", __file__, user, str(int(death)), str(os.getpid())]


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - pathlib takes longer to import than all else here
        file.write(text)


def _enter_user_namespace() -> None:
    """Root outside, an ordinary user inside: Postgres refuses to run as root, yet the files stay root's."""
    _call("unshare", _CLONE_NEWUSER)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{_UNPRIVILEGED} 0 1")
    _write("/proc/self/gid_map", f"{_UNPRIVILEGED} 0 1")


def _become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def _main(user: str, death: str, parent: str, *argv: str) -> None:
    """Become what was asked for, and then the program."""
    {"same": lambda: None, "namespace": _enter_user_namespace, "nobody": _become_nobody}[user]()
    # After the change of user, which would clear it (prctl(2)).
    _call("prctl", _PR_SET_PDEATHSIG, int(death))
    if os.getppid() != int(parent):  # it died before prctl was called
        sys.exit(1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and a program would inherit that
        signal.signal(number, signal.SIG_DFL)
    os.execvp(argv[0], argv)  # noqa: S606


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except OSError as error:
        sys.exit(f"{sys.argv[4]} was not started: {error}")
