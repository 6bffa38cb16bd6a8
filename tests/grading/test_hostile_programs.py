"""Programs that try to get out of the sandbox: each attempt must fail, as the user of the tests and as an ordinary user.

A program prints `through` for each attempt that worked, and `held` at its end. All are harmless: `test_the_attempts_work_outside` runs
those that change nothing without a sandbox, where they must get through, so that the tests can fail.
"""

import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from racviz.grading import sandbox
from racviz.grading.sandbox import Limits

KEYCTL, ADD_KEY, REQUEST_KEY = (219, 217, 218) if platform.machine() == "aarch64" else (250, 248, 249)
OUTSIDE_TOO = {
    "connects to a socket by its path": """
for path in ("HOME/agent.sock", "HOME/tmux/default"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        attempt(lambda: socket.socket(socket.AF_UNIX, kind).connect(path))""",
    "connects to an abstract socket": r"attempt(lambda: socket.socket(socket.AF_UNIX).connect('\0ABSTRACT'))",
    "binds an abstract socket for another sandbox": r"attempt(lambda: socket.socket(socket.AF_UNIX).bind('\0ABSTRACT-2'))",
    "sends from one of a pair of sockets": r"""
for path in ("HOME/letters.sock", "\0ABSTRACT-3"):
    attempt(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", path))""",
    "opens sockets of any family": """
for family in range(46):
    for kind in (1, 2, 3, 5):
        attempt(lambda: socket.socket(family, kind).fileno())""",
    "reads keyrings": f"""
for ring in (-1, -2, -3, -4, -5, -6):
    attempt(call, "syscall", {KEYCTL}, 0, ring, 1)
    attempt(call, "syscall", {KEYCTL}, 6, ring, ctypes.create_string_buffer(200), 200)
attempt(call, "syscall", {ADD_KEY}, b"user", b"racviz-test", b"x", 1, -3)""",
    "watches files": """
attempt(lambda: call("inotify_add_watch", call("inotify_init1", 0), b"HOME", 0xFFF))
attempt(call, "inotify_init1", 0)""",
    "looks at the user's files": """
for path in ("HOME", "HOME/letter", "HOME/agent.sock"):
    attempt(os.stat, path); attempt(os.open, path, os.O_PATH)
attempt(os.listdir, "HOME"); attempt(lambda: open("HOME/letter").read())""",
    "changes the user's files": """
attempt(os.chmod, "HOME", 0o777); attempt(os.chmod, "HOME/letter", 0o666); attempt(os.chown, "HOME/letter", UID, UID)
attempt(os.utime, "HOME/letter", (1, 1)); attempt(os.setxattr, "HOME/letter", "user.mark", b"x")
attempt(os.truncate, "HOME/letter", 1); attempt(lambda: open("HOME/letter", "a").write("x")); attempt(os.mkdir, "HOME/folder")
attempt(os.rename, "HOME/letter", "HOME/moved"); attempt(lambda: open("HOME/new", "w"))""",
    "changes mode and owner of what it was given": """
for file in (0, 1, 2): attempt(os.fchmod, file, 0o777); attempt(os.fchown, file, -1, -1); attempt(os.utime, file, (1, 1))""",
    "reads the system": """
for path in ("/etc/passwd", "/etc/hostname", "/proc/1/environ", "/proc/self/environ", "/proc/self/mountinfo", "/proc/self/maps",
             "/proc/self/status", "/proc/self/root/etc/passwd", "/proc/1/root/etc/passwd", "/proc/meminfo", "/proc/keys"):
    attempt(lambda: open(path).read(1))
for path in ("/etc/passwd", "/tmp", "/var", "/run", "/home", "/root", "/sys", "/boot", "/opt", "/usr/bin", "/bin", "/dev/shm",
             "/dev/pts", "/dev/tty", "/dev/mem", "/dev/kmsg", "/proc/sys", "/proc/1", "/proc/self/exe"):
    attempt(os.stat, path)""",
    "escapes through links and its own folder's parents": """
attempt(os.chroot, ".")
for _ in range(20): attempt(os.stat, "etc/passwd"); os.chdir("..")
attempt(os.open, "/../../etc/passwd", os.O_RDONLY)
for file in range(3, 1024): attempt(os.fstat, file); attempt(os.fchdir, file)""",
    "makes links, pipes and devices": """
attempt(os.symlink, "/etc/passwd", "a"); attempt(os.link, sys.argv[-1] if os.path.exists(sys.argv[-1]) else "program.py", "b")
attempt(os.mkfifo, "c"); attempt(os.mknod, "d")""",
    "signals others": "for pid in (PID, os.getppid() or -1): attempt(os.kill, pid, 0)",
    "changes limits": """
for what in ("AS", "CPU", "NPROC", "NOFILE", "FSIZE", "CORE", "DATA"):
    number = getattr(resource, "RLIMIT_" + what)
    attempt(resource.setrlimit, number, resource.getrlimit(number)); attempt(resource.setrlimit, number, (-1, -1))
attempt(resource.setrlimit, resource.RLIMIT_CORE, (0, 0)); attempt(resource.prlimit, PID, resource.RLIMIT_AS)""",
    "becomes somebody else": """
for user in (0, 1000, UID): attempt(os.setuid, user); attempt(os.setresuid, user, user, user); attempt(os.setgroups, [user])
attempt(call, "unshare", 0x10000000); attempt(call, "setfsuid", -2)""",
    "makes other processes": """
import subprocess
def child():
    if os.fork() == 0: os._exit(0)
attempt(child); attempt(subprocess.run, [sys.executable, "-c", ""]); attempt(os.posix_spawn, sys.executable, ["x", "-c", ""], {})
attempt(os.system, "true") if os.path.exists("/bin/sh") else None""",
    "outlives the launcher": "attempt(call, 'prctl', 1, 0, 0, 0, 0)",
    "larger pipes, locks and leases": """
attempt(fcntl.fcntl, os.pipe()[1], 1031, 2**20); file = open("locked", "w")
attempt(fcntl.lockf, file, fcntl.LOCK_EX); attempt(fcntl.flock, file, fcntl.LOCK_EX); attempt(fcntl.fcntl, file, 8, os.getpid())""",
}  # fmt: skip
INSIDE_ONLY = {
    "writes where the interpreter lives": """
attempt(open, os.__file__, "a"); attempt(open, sys.executable, "r+b"); attempt(os.unlink, os.__file__)
for folder in (os.path.dirname(os.__file__), "/", "/dev", "/usr/lib", "/python", "/proc/self/fd"):
    attempt(os.mkdir, folder + "/racviz-test"); attempt(os.open, folder, os.O_TMPFILE | os.O_RDWR)
for path in ("/dev/stdin", "/dev/fd/0", "/dev/new", "/proc/sys/kernel/core_pattern"): attempt(open, path, "w")""",
    "mounts": """
attempt(call, "mount", None, b"/", None, 32, None); attempt(call, "mount", None, b"/python/lib", None, 32 | 4096, None)
attempt(call, "mount", b"tmpfs", b".", b"tmpfs", 0, None); attempt(call, "mount", b"proc", b".", b"proc", 0, None)
attempt(call, "umount2", b"/program", 2); attempt(call, "umount2", b"/", 2); attempt(call, "unshare", 0x20000)
attempt(call, "setns", 0, 0); attempt(os.chroot, "/")""",
    "signals everybody": "for pid in (-1, 0): attempt(os.kill, pid, 9)\nattempt(os.killpg, 0, 9)",
    "types into a terminal": "for file in (0, 1, 2): attempt(fcntl.ioctl, file, 0x5412, b'x')",
    "processes past the C library": f"""
attempt(call, "vfork"); attempt(call, "fork")
for flags in (17, 0x4111, 0x100, 0x10900 | 0x10000000, 0x10900 | 0x20000):
    attempt(call, "syscall", {220 if KEYCTL == 219 else 56}, flags, 0, 0, 0, 0)
arguments = (ctypes.c_uint64 * 11)(0, 0, 0, 0, 17); attempt(call, "syscall", 435, arguments, 88)""",
}  # fmt: skip


def _state(home: Path) -> list:
    paths = sorted([home, *home.rglob("*")])
    return [(str(p), s.st_mode, s.st_uid, s.st_gid, s.st_mtime_ns, s.st_ctime_ns) for p in paths for s in [p.stat()]]


@pytest.mark.parametrize("name", [*OUTSIDE_TOO, *INSIDE_ONLY])
def test_an_attempt_fails(run, world, name):
    home, fill, sockets = world
    before = _state(home)
    ran = run(fill((OUTSIDE_TOO | INSIDE_ONLY)[name]), limits=Limits(seconds=5))
    assert (ran.output, ran.status) == ("held\n", "ended"), ran.error
    assert _state(home) == before and (home / "letter").read_text() == "dear diary"
    for listening in sockets:
        with pytest.raises(BlockingIOError):
            listening.accept() if listening.type == socket.SOCK_STREAM else listening.recv(9)


@pytest.mark.parametrize("run", ["here"], indirect=True)
@pytest.mark.parametrize("name", OUTSIDE_TOO)
def test_the_attempts_work_outside(run, world, tmp_path, name):
    _, fill, _ = world
    script = tmp_path / "script.py"
    script.write_text(fill(OUTSIDE_TOO[name]))
    ran = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert "through:" in ran.stdout, ran.stderr


SECCOMP_ALONE = {
    "sends from one of a pair of sockets", "opens sockets of any family", "binds an abstract socket for another sandbox",
    "changes mode and owner of what it was given", "makes links, pipes and devices", "changes limits", "makes other processes",
    "outlives the launcher", "larger pipes, locks and leases", "reads keyrings", "watches files", "becomes somebody else",
    "processes past the C library", "signals everybody", "types into a terminal",
}  # fmt: skip
"""Attempts that the allow list of system calls stops alone, or that do no harm inside: a queue of events about its own files, say."""


@pytest.mark.parametrize("run", ["here"], indirect=True)
@pytest.mark.parametrize("wall", ["landlock", "system_calls"])
def test_the_other_walls_hold_without_one(run, world, monkeypatch, tmp_path, wall):
    crippled = tmp_path / "launcher.py"
    text = sandbox.LAUNCHER.read_text()
    assert f"    {wall}(spec)\n" in text
    crippled.write_text(text.replace(f"    {wall}(spec)\n", ""))
    monkeypatch.setattr(sandbox, "LAUNCHER", crippled)
    _, fill, _ = world
    programs = OUTSIDE_TOO | INSIDE_ONLY
    for name in programs.keys() - (SECCOMP_ALONE if wall == "system_calls" else set()):
        ran = run(fill(programs[name]), limits=Limits(seconds=5))
        assert (ran.output, ran.status) == ("held\n", "ended"), (name, ran.error)
