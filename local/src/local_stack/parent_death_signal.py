"""What a child process does between fork and exec, so that it never outlives the process that started it.

Linux only. The death signal belongs to the *thread* that forked: start children from the main thread.
"""

import ctypes
import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_UNPRIVILEGED = 1000
NOBODY = 65534

# Loaded before any fork: dlopen after a fork may wait for a lock that is never released.
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _enter_user_namespace() -> None:
    """Root outside, an ordinary user inside: Postgres refuses to run as root, yet the files stay root's."""
    _call("unshare", _CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{_UNPRIVILEGED} 0 1")
    Path("/proc/self/gid_map").write_text(f"{_UNPRIVILEGED} 0 1")


@functools.cache
def can_unshare() -> bool:
    """Whether this machine lets root make a user namespace (containers often don't)."""
    child = os.fork()
    if child == 0:
        try:
            _enter_user_namespace()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _drop_root() -> None:
    if can_unshare():
        _enter_user_namespace()
        return
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def parent_death_signal(death: signal.Signals, *, not_root: bool = False) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends `death` to the child when its parent dies, however it dies.

    `not_root` also gives up being root, if we are. A new session keeps the terminal's Ctrl-C from the child:
    stopping is its parent's business.
    """
    parent = os.getpid()
    drop = not_root and os.geteuid() == 0
    if drop:
        can_unshare()  # called here, so that the answer is cached in the parent

    def before_exec() -> None:
        try:
            os.setsid()
            if drop:
                _drop_root()
            # After the change of user, which would clear it (prctl(2)).
            _call("prctl", _PR_SET_PDEATHSIG, death)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())  # subprocess tells the parent only that there was one
            raise
        if os.getppid() != parent:  # the parent died before prctl was called
            os._exit(1)

    return before_exec
