"""Runs a command that may not take descriptors out of other processes, as in many containers:
pidfd_getfd(2) fails with EPERM for it and for everything it starts."""

import ctypes
import errno
import os
import struct
import sys

PIDFD_GETFD = 438  # the same number on every architecture
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2

LOAD_NUMBER = (0x20, 0, 0, 0)  # BPF_LD | BPF_W | BPF_ABS, seccomp_data.nr
IF_IT_IS = (0x15, 0, 1, PIDFD_GETFD)  # BPF_JMP | BPF_JEQ | BPF_K
REFUSE = (0x06, 0, 0, 0x00050000 | errno.EPERM)  # SECCOMP_RET_ERRNO
ALLOW = (0x06, 0, 0, 0x7FFF0000)  # SECCOMP_RET_ALLOW


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def main():
    steps = [LOAD_NUMBER, IF_IT_IS, REFUSE, ALLOW]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = Program(len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in [
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ]:
        if libc.prctl(*call) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[1], sys.argv[1:])


main()
