# SPDX-License-Identifier: Apache-2.0
"""Every system call of a piece of Python, as the kernel sees them (ptrace): each can fail, be interrupted, do half of
its work, or be the last thing that the process does. Unlike a library that replaces functions, it misses none.

x86-64 alone: what a call is and returns stands in registers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

HERE = platform.machine() == "x86_64"

_NAMES = {0: "read", 1: "write", 2: "open", 3: "close", 4: "stat", 5: "fstat", 6: "lstat", 9: "mmap", 10: "mprotect",
          11: "munmap", 12: "brk", 13: "rt_sigaction", 14: "rt_sigprocmask", 25: "mremap", 28: "madvise", 39: "getpid",
          74: "fsync", 89: "readlink", 91: "fchmod", 93: "fchown", 102: "getuid", 104: "getgid", 107: "geteuid",
          108: "getegid", 202: "futex", 204: "sched_getaffinity", 257: "openat", 262: "fstatat", 263: "unlinkat",
          264: "renameat", 267: "readlinkat", 269: "faccessat", 316: "renameat2", 439: "faccessat2"}
# Made by malloc, Python and what counts threads wherever they like; what malloc does without memory is another test.
OF_THE_RUNTIME = frozenset(("mmap", "mprotect", "munmap", "brk", "mremap", "madvise", "futex", "rt_sigaction",
                            "rt_sigprocmask", "sched_getaffinity"))

# struct user_regs_struct
_REGISTERS = ["r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
              "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"]
_TRACEME, _GETREGS, _SETREGS, _SYSCALL, _SETOPTIONS = 0, 12, 13, 24, 0x4200
_OPTIONS = 1 | 0x100000  # TRACESYSGOOD: stops at a system call are told from signals; EXITKILL
_LSEEK, _MARKER = 8, 2**32 - 4242  # lseek(-4242, ...) begins and ends what is watched


class _Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in _REGISTERS]


@dataclass(frozen=True)
class Mishap:
    """What befalls call number `at` of those that are not the runtime's.

    kind is "none", "error" (the call is not made, and fails with `code`), "persistent" (so do all later ones of the
    same name), "short" (a write does half), "killed before" or "killed after"; these two count the runtime's, too.
    """

    kind: str = "none"
    at: int = -1
    code: int = 0


@dataclass
class Outcome:
    calls: list[tuple[str, int]] = field(default_factory=list)  # name, first argument
    status: int = 0  # as of waitpid
    struck: bool = False


def _ptrace(request: int, pid: int, address: int = 0, data: object = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, pid, address, data) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")


def _mark() -> None:
    with contextlib.suppress(OSError):
        os.lseek(-4242, 0, 0)


def run(body: Callable[[], int], mishap: Mishap) -> Outcome:
    """`body` in a forked child, which exits with what it returns."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            _ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            code = body()
        finally:
            os._exit(code)
    return _watch(child, mishap)


def watched(body: Callable[[], object]) -> None:
    """Called inside `run`: only the calls of this body count."""
    _mark()
    try:
        body()
    finally:
        _mark()


def _watch(child: int, mishap: Mishap) -> Outcome:
    _, status = os.waitpid(child, 0)
    assert os.WIFSTOPPED(status), status
    _ptrace(_SETOPTIONS, child, 0, _OPTIONS)
    watch = _Watch(child, mishap)
    entered, signal_to_deliver = False, 0
    while True:
        with contextlib.suppress(ProcessLookupError):  # killed where it stood
            _ptrace(_SYSCALL, child, 0, signal_to_deliver)
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            watch.outcome.status = status
            return watch.outcome
        at_a_call = os.WSTOPSIG(status) == signal.SIGTRAP | 0x80
        signal_to_deliver = 0 if at_a_call else os.WSTOPSIG(status)
        if at_a_call:
            entered = not entered
            if entered:
                watch.enter()
            else:
                watch.leave()


class _Watch:
    def __init__(self, child: int, mishap: Mishap) -> None:
        self.child = child
        self.mishap = mishap
        self.outcome = Outcome()
        self.registers = _Registers()
        self.watching = False
        self.made = 0
        self.struck_name = ""
        self.at_exit: Callable[[], None] | None = None

    def enter(self) -> None:
        registers = self.registers
        _ptrace(_GETREGS, self.child, 0, ctypes.addressof(registers))
        if registers.orig_rax == _LSEEK and registers.rdi % 2**32 == _MARKER:
            self.watching = not self.watching
        elif self.watching:
            name = _NAMES.get(registers.orig_rax, f"system call {registers.orig_rax}")
            self.outcome.calls.append((name, ctypes.c_int(registers.rdi & 0xFFFFFFFF).value))
            if name not in OF_THE_RUNTIME or self.mishap.kind.startswith("killed"):
                here = self.made == self.mishap.at
                self.made += 1
                if here or (self.mishap.kind == "persistent" and name == self.struck_name):
                    self.strike(name)

    def strike(self, name: str) -> None:
        self.outcome.struck, self.struck_name = True, name
        registers, kind = self.registers, self.mishap.kind
        if kind == "killed before":
            self.kill()
        elif kind == "killed after":
            self.at_exit = self.kill
        elif kind in ("error", "persistent"):
            self.at_exit = self.fail
            if name != "close":  # which frees the descriptor also when it fails
                registers.orig_rax = 2**64 - 1  # there is no such call: the kernel does nothing
                self.store()
        elif kind == "short" and name == "write":
            registers.rdx = max(1, registers.rdx // 2)
            self.store()

    def leave(self) -> None:
        if self.at_exit is not None:
            self.at_exit()
            self.at_exit = None

    def fail(self) -> None:
        _ptrace(_GETREGS, self.child, 0, ctypes.addressof(self.registers))
        self.registers.rax = 2**64 - self.mishap.code
        self.store()

    def store(self) -> None:
        _ptrace(_SETREGS, self.child, 0, ctypes.addressof(self.registers))

    def kill(self) -> None:
        os.kill(self.child, signal.SIGKILL)
