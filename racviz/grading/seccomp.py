"""An allow list of system calls, as a BPF program that Linux runs before each call (seccomp).

A program that computes, reads its input and prints needs about 120 system calls. All others are refused with EPERM: processes, sockets,
mounts, namespaces, keys, tracing, shared memory outside the address space, watches on files, modes and owners of files, io_uring, bpf and
whatever else Linux has. Calls that are newer than this list are answered with ENOSYS, so that a C library takes its older way.

The numbers are those of the kernel's headers, `name x86_64 aarch64`; `-` where a machine does not have the call.
"""

import struct

ALLOWED = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69, pwritev 296 70, lseek 8 62,
open 2 -, openat 257 56, creat 85 -, close 3 57, close_range 436 436, stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79,
statx 332 291, access 21 -, faccessat 269 48, faccessat2 439 439, readlink 89 -, readlinkat 267 78, getcwd 79 17, chdir 80 49,
fchdir 81 50, getdents 78 -, getdents64 217 61, mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35,
rename 82 -, renameat 264 38, renameat2 316 276, truncate 76 45, ftruncate 77 46, fsync 74 82, fdatasync 75 83,
fadvise64 221 223, umask 95 166, dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, poll 7 -, ppoll 271 73,
select 23 -, pselect6 270 72, epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22,
brk 12 214, mmap 9 222, munmap 11 215, mprotect 10 226, mremap 25 216, madvise 28 233, msync 26 227,
execve 59 221, exit 60 93, exit_group 231 94, wait4 61 260, waitid 247 95, getpid 39 172, getppid 110 173, gettid 186 178,
getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150, getgroups 115 158,
getpgid 121 155, getpgrp 111 -, getsid 124 156, set_tid_address 218 96, set_robust_list 273 99, futex 202 98, rseq 334 293,
sched_yield 24 124, sched_getaffinity 204 123, sched_getparam 143 121, sched_getscheduler 145 120, getcpu 309 168,
arch_prctl 158 -, getrlimit 97 163, getrusage 98 165, times 100 153, uname 63 160, sysinfo 99 179,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128 137,
rt_sigsuspend 130 133, sigaltstack 131 132, pause 34 -, alarm 37 -, setitimer 38 103, getitimer 36 102, restart_syscall 219 128,
clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, nanosleep 35 101, gettimeofday 96 169, time 201 -,
getrandom 318 278, sendto 44 206, recvfrom 45 207, shutdown 48 210, getsockopt 55 209, getsockname 51 204, getpeername 52 205
"""

PARTLY = """
clone 56 220, fcntl 72 25, ioctl 16 29, kill 62 129, tkill 200 130, tgkill 234 131, prctl 157 167, prlimit64 302 261,
setrlimit 160 164, socketpair 53 199
"""
"""Calls that are allowed with some arguments only: see `CONDITIONS`."""

LAUNCHERS = "pivot_root 155 41, keyctl 250 219"
"""Calls without a function in libc that the launcher makes itself, and no program may make."""

A_THREAD = 0x10900
"""CLONE_VM | CLONE_SIGHAND | CLONE_THREAD: a thread, which counts with its process's memory, and ends with it."""
MORE_THAN_A_THREAD = 0x7E023000
"""All CLONE_NEW…, CLONE_PTRACE, CLONE_PIDFD."""


def _low(argument: int, value: int, mask: int = 0xFFFFFFFF) -> tuple[int, int, int]:
    """Test the low 32 bits of an argument, which is all that the kernel reads of an int: (offset in seccomp_data, mask, value)."""
    return 16 + 8 * argument, mask, value


CONDITIONS: dict[str, list[tuple[tuple[int, int, int], ...]]] = {
    "clone": [(_low(0, A_THREAD, A_THREAD | MORE_THAN_A_THREAD),)],
    # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ: no locks, larger pipes, signals or leases
    "fcntl": [(_low(1, command),) for command in (0, 1, 2, 3, 4, 1030, 1032)],
    # TCGETS (isatty), TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: no TIOCSTI
    "ioctl": [(_low(1, command),) for command in (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)],
    "kill": [(_low(0, 1),)],  # the program is the first process of its namespace
    "tkill": [(_low(0, 1),)],
    "tgkill": [(_low(0, 1),)],
    "prctl": [(_low(0, option),) for option in (15, 16)],  # PR_SET_NAME, PR_GET_NAME: it stays bound to die with the launcher
    # read a limit, or set the stack's, which counts with the memory: the rest, RLIMIT_CORE too, cannot be lowered either
    "prlimit64": [((32, 0xFFFFFFFF, 0), (36, 0xFFFFFFFF, 0)), (_low(1, 3),)],
    "setrlimit": [(_low(0, 3),)],
    "socketpair": [(_low(0, 1),)],  # AF_UNIX: asyncio wakes itself up through one
}
"""Name: alternatives, of which one must hold; an alternative is a row of tests, all of which must hold."""

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Name: column of the tables above, and the kernel's word for the machine (AUDIT_ARCH)."""
X32 = 0x40000000
CLONE3 = 435
"""Its flags lie in memory, where no filter reads: ENOSYS makes a C library call `clone` instead."""
NEWEST = 450
"""The newest call that was looked at."""
LOAD, EQUAL, AT_LEAST, GREATER, AND, RETURN = 0x20, 0x15, 0x35, 0x25, 0x54, 0x06
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50000 | 1, 0x50000 | 38

Instruction = tuple[int, int, int, int]
"""(code, instructions to skip where the test holds, and where it fails, constant)."""


def numbers(table: str, machine: str) -> dict[str, int]:
    """Numbers of the calls of a table on one machine."""
    column = MACHINES[machine][0] + 1
    rows = [row.split() for row in table.split(",")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def instructions(machine: str) -> list[Instruction]:
    """The filter as instructions of BPF.

    Parameters
    ----------
    machine : name as `os.uname().machine` gives it, one of `MACHINES`.
    """
    code: list[Instruction] = [
        (LOAD, 0, 0, 4), (EQUAL, 1, 0, MACHINES[machine][1]), (RETURN, 0, 0, KILL),  # another machine's numbers mean other calls
        (LOAD, 0, 0, 0), (AT_LEAST, 0, 1, X32), (RETURN, 0, 0, EPERM),
        (EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, ENOSYS), (GREATER, 0, 1, NEWEST), (RETURN, 0, 0, ENOSYS),
    ]  # fmt: skip
    for number in numbers(ALLOWED, machine).values():
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    for name, number in numbers(PARTLY, machine).items():
        block = [step for alternative in CONDITIONS[name] for step in _alternative(alternative)] + [(RETURN, 0, 0, EPERM)]
        code += [(EQUAL, 0, len(block), number), *block]
    return [*code, (RETURN, 0, 0, EPERM)]


def _alternative(tests: tuple[tuple[int, int, int], ...]) -> list[Instruction]:
    """Allow where all tests hold, else go on behind."""
    code: list[Instruction] = [(RETURN, 0, 0, ALLOW)]
    for offset, mask, value in reversed(tests):
        code = [(LOAD, 0, 0, offset), (AND, 0, 0, mask), (EQUAL, 0, len(code), value), *code]
    return code


def assembled(machine: str) -> bytes:
    """The filter as the kernel takes it; empty for a machine whose numbers are not known here."""
    if machine not in MACHINES:
        return b""
    return b"".join(struct.pack("=HBBI", *step) for step in instructions(machine))
