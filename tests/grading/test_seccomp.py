"""The filter of system calls: run by a small interpreter of BPF for both machines, and by the kernel."""

import json
import platform
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.grading import seccomp

REFUSED = """
fork 57 -, vfork 58 -, execveat 322 281, ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, process_madvise 440
440, kcmp 312 272, pidfd_open 434 434, pidfd_getfd 438 438, pidfd_send_signal 424 424, rt_sigqueueinfo 129 138,
socket 41 198, connect 42 203, bind 49 200, listen 50 201, accept 43 202, accept4 288 242, sendmsg 46 211, recvmsg 47 212,
sendmmsg 307 269, recvmmsg 299 243, setsockopt 54 208,
mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432
432, fspick 433 433, open_tree 428 428, mount_setattr 442 442, unshare 272 97, setns 308 268,
keyctl 250 219, add_key 248 217, request_key 249 218, inotify_init 253 -, inotify_init1 294 26, inotify_add_watch 254 27,
fanotify_init 300 262, fanotify_mark 301 263, name_to_handle_at 303 264, open_by_handle_at 304 265,
chmod 90 -, fchmod 91 52, fchmodat 268 53, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54, utime 132 -, utimes 235 -,
utimensat 280 88, futimesat 261 -, setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, getxattr 191 8, link 86
-, linkat 265 37, symlink 88 -, symlinkat 266 36, mknod 133 -, mknodat 259 33,
shmget 29 194, shmat 30 196, shmctl 31 195, semget 64 190, msgget 68 186, mq_open 240 180, memfd_create 319 279, memfd_secret 447
447, userfaultfd 323 282, remap_file_pages 216 234, mlock 149 228, mlock2 325 284, mlockall 151 230, mbind 237 235, set_mempolicy
238 237, migrate_pages 256 238, move_pages 279 239,
io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, io_setup 206 0, bpf 321 280, perf_event_open 298 241,
seccomp 317 277, landlock_create_ruleset 444 444, personality 135 92,
kexec_load 246 104, kexec_file_load 320 294, init_module 175 105, finit_module 313 273, delete_module 176 106, reboot 169 142,
swapon 167 224, swapoff 168 225, acct 163 89, quotactl 179 60, syslog 103 116, settimeofday 164 170, clock_settime 227 112,
clock_adjtime 305 266, adjtimex 159 171, sethostname 170 161, setdomainname 171 162, iopl 172 -, ioperm 173 -, modify_ldt 154 -,
vhangup 153 58,
setuid 105 146, setgid 106 144, setreuid 113 145, setregid 114 143, setresuid 117 147, setresgid 119 149, setgroups 116 159,
setfsuid 122 151, setfsgid 123 152, capset 126 91, setsid 112 157, setpgid 109 154, setpriority 141 140, sched_setaffinity 203
122, sched_setscheduler 144 119, sched_setattr 314 274, ioprio_set 251 30,
flock 73 32, fallocate 285 47, splice 275 76, tee 276 77, vmsplice 278 75, sendfile 40 71, copy_file_range 326 285, timer_create
222 107, timerfd_create 283 85, signalfd4 289 74, eventfd2 290 19, statfs 137 43, fstatfs 138 44, sync 162 81, syncfs 306 267,
sync_file_range 277 84
"""
"""Calls that no program may make: name, number on x86_64, number on aarch64 (written from the kernel's headers)."""
ALLOW, EPERM, ENOSYS, KILL = "allow", "EPERM", "ENOSYS", "kill"
RESULTS = {0x7FFF0000: ALLOW, 0x00050001: EPERM, 0x00050026: ENOSYS, 0x80000000: KILL}
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
MACHINES = list(AUDIT)


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None) -> str:
    """The verdict of the assembled filter on a call, by the rules of classic BPF (linux/filter.h)."""
    code = list(struct.iter_unpack("=HBBI", seccomp.assembled(machine)))
    full = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<iIQ6Q", number, AUDIT[machine] if audit is None else audit, 0, *(a & (2**64 - 1) for a in full))
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, constant = code[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif operation == 0x54:
            accumulator &= constant
        elif operation == 0x06:
            return RESULTS[constant]
        else:
            holds = {0x15: accumulator == constant, 0x25: accumulator > constant, 0x35: accumulator >= constant}[operation]
            at += if_true if holds else if_false


def numbers(table: str, machine: str) -> dict[str, int]:
    rows = [row.split() for row in table.split(",")]
    return {name: int(found[MACHINES.index(machine)]) for name, *found in rows if found[MACHINES.index(machine)] != "-"}


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_are_refused_whatever_their_arguments(machine):
    for name, number in numbers(REFUSED, machine).items():
        for arguments in ((), (1, 1, 1), (2**64 - 1,) * 6):
            assert verdict(machine, number, *arguments) == EPERM, name


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_a_computation_needs(machine):
    for name in ("read", "write", "openat", "close", "fstat", "mmap", "munmap", "brk", "futex", "execve", "exit_group", "rt_sigreturn",
                 "getrandom", "clock_gettime", "set_robust_list", "rseq", "lseek", "getcwd", "sigaltstack", "epoll_pwait"):  # fmt: skip
        assert verdict(machine, numbers(seccomp.ALLOWED, machine)[name], 2**64 - 1) == ALLOW, name


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_decide(machine):
    thread = 0x3D0F00  # as glibc starts one
    cases = [
        ("clone", (thread,), ALLOW), ("clone", (17,), EPERM), ("clone", (0x4111,), EPERM), ("clone", (0x100 | 17,), EPERM),
        *(("clone", (thread | 1 << bit,), EPERM) for bit in (12, 13, 17, 25, 26, 27, 28, 29, 30)),
        ("fcntl", (0, 3), ALLOW), ("fcntl", (0, 1030), ALLOW),
        *(("fcntl", (0, c), EPERM) for c in (6, 7, 8, 10, 37, 1024, 1026, 1031, 1033)),
        ("ioctl", (0, 0x5401), ALLOW), *(("ioctl", (0, c), EPERM) for c in (0x5412, 0x541C, 0x5404, 0x8912, 2**32 - 1)),
        ("kill", (1, 15), ALLOW), *(("kill", (pid, 9), EPERM) for pid in (0, 2, 4321, 2**32 - 1, 2**64 - 1)),
        ("tgkill", (1, 5, 6), ALLOW), ("tgkill", (2, 2, 6), EPERM), ("tkill", (77, 6), EPERM),
        ("prctl", (15,), ALLOW), *(("prctl", (option,), EPERM) for option in (1, 3, 4, 8, 22, 23, 24, 38, 47, 59)),
        ("prlimit64", (0, 9, 0, 99), ALLOW), ("prlimit64", (0, 3, 99, 0), ALLOW), ("prlimit64", (0, 9, 99, 0), EPERM),
        ("prlimit64", (0, 9, 2**32, 0), EPERM), ("setrlimit", (3, 99), ALLOW), ("setrlimit", (4, 99), EPERM),
        ("socketpair", (1, 1), ALLOW), ("socketpair", (2, 1), EPERM), ("socketpair", (16, 1), EPERM),
    ]  # fmt: skip
    for name, arguments, expected in cases:
        assert verdict(machine, numbers(seccomp.PARTLY, machine)[name], *arguments) == expected, (name, arguments)


@given(
    st.sampled_from(MACHINES), st.integers(0, 600) | st.integers(0, 2**31 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=6)
)
def test_any_call_is_allowed_only_where_the_tables_say_so(machine, number, arguments):
    allowed = {*numbers(seccomp.ALLOWED, machine).values(), *numbers(seccomp.PARTLY, machine).values()}
    assert number in allowed or verdict(machine, number, *arguments) != ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_other_ways_to_call_are_no_way_round(machine):
    other = MACHINES[1 - MACHINES.index(machine)]
    assert verdict(machine, 1, audit=AUDIT[other]) == KILL and verdict(machine, 1, audit=0x40000003) == KILL, (
        "numbers of 32 bits"
    )
    assert verdict(machine, 0x40000000 | 1) == EPERM, "x32"
    assert verdict(machine, 435) == ENOSYS, "clone3, whose flags no filter can read"
    assert verdict(machine, 451) == ENOSYS and verdict(machine, 2**30 - 1) == ENOSYS, "calls that are newer than the list"


def test_a_machine_that_is_not_known_has_no_filter():
    assert seccomp.assembled("riscv64") == b""


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_the_kernels_headers(machine):
    folders = [Path("/usr/include/x86_64-linux-gnu/asm"), Path("/usr/include/asm")]
    path = Path("/usr/include/asm-generic/unistd.h")
    if machine == "x86_64":
        path = next((folder / "unistd_64.h" for folder in folders if (folder / "unistd_64.h").exists()), Path("none"))
    if not path.exists():
        pytest.skip("no headers of the kernel")
    headers = {name: int(number) for name, number in re.findall(r"#define\s+__NR(?:3264)?_(\w+)\s+(\d+)", path.read_text())}
    headers.setdefault("newfstatat", headers.get("fstatat"))
    for table in (seccomp.ALLOWED, seccomp.PARTLY, seccomp.LAUNCHERS, REFUSED):
        for name, number in seccomp.numbers(table, machine).items():
            assert headers.get(name, number) == number, name


def test_the_kernel_refuses_each_of_them(run):
    machine = platform.machine()
    wanted = numbers(REFUSED, machine) | {"clone3": 435}
    program = f"""
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
got = {{}}
for name, number in {wanted}.items():
    result = libc.syscall(number, *[ctypes.c_long(-1)] * 6)
    got[name] = ctypes.get_errno() if result == -1 else "through"
print(json.dumps(got))"""
    ran = run(program)
    assert ran.ended, ran.error
    assert json.loads(ran.output) == {name: 38 if name == "clone3" else 1 for name in wanted}


def test_calls_of_32_bits_and_x32_are_not_taken(run):
    if platform.machine() != "x86_64":
        pytest.skip("x86_64 alone has them")
    program = """
import ctypes, mmap
pages = []
def function(code):
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(code)
    pages.append(page)
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(function(bytes.fromhex("b827000040" "0f05" "c3"))(), flush=True)  # x32: getpid
print(function(bytes.fromhex("b814000000" "cd80" "c3"))())  # int 0x80: getpid
"""
    ran = run(program)
    assert ran.status == "failed" and ran.output == "-1\n"
