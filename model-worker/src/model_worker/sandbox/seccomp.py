"""Which system calls a decoding child may still make: it may compute and answer, and nothing else.

No file is opened, no process started or signalled, no socket made, the alarm not moved: all of that is answered with
EPERM. Written as classic BPF (`Documentation/userspace-api/seccomp_filter.rst` of Linux); numbers from the kernel's headers.
"""

import ctypes
import os
import struct

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
EPERM = 1
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # in struct seccomp_data

CALLS = {  # the numbers on x86-64 and aarch64
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "sendto": (44, 206),
    "getsockname": (51, 204),
    "getsockopt": (55, 209),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "brk": (12, 214),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # the column, AUDIT_ARCH_…


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _program(column: int, architecture: int) -> bytes:
    """Refuse other architectures' calls (x32 numbers its calls differently), then compare the number."""
    numbers = [call[column] for call in CALLS.values()]
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 0, len(numbers) + 1, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        *((_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ERRNO | EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


_FILTER = _program(*MACHINES[os.uname().machine]) if os.uname().machine in MACHINES else None
_libc = ctypes.CDLL(None)


def confine() -> bool:
    """Take all but `CALLS` from this process for good; needs PR_SET_NO_NEW_PRIVS. False where the kernel can't."""
    if _FILTER is None:
        return False
    program = _Program(len(_FILTER) // 8, _FILTER)
    return bool(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)) == 0)
