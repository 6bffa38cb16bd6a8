"""Shuts itself in and starts a program there: run as `python -I -S sandbox_launcher.py SPEC STATUS`; imports nothing of racviz.

The launcher makes the namespaces and stays outside as their warden: whatever happens to it, the program ends. The program is the first
process of its namespace, so that with it everything that it started ends.
"""

import ctypes
import json
import os
import resource
import signal
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
PRIVATE, NOSUID, NODEV, BIND, RECURSIVE = 1 << 18, 2, 4, 4096, 16384
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
READ = 0b1101  # execute, read a file, read a folder
ALL_FILES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}  # the rights that each version of Landlock knows
STACK = 2**27
"""Bytes of the program's main stack: room for functions in C that call each other 50,000 deep."""
NOBODY = 200_000
"""Users from here on own nothing; each program gets one of its own, so that limits on processes are its own too."""


def call(name: str, *arguments) -> int:
    """A function of libc, or a system call by its number; raises OSError."""
    result = getattr(LIBC, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def shut_in(spec: dict) -> None:
    """Namespaces of its own for the network, processes, mounts; an empty folder in memory that is as large as files may be."""
    kinds = NEW_NET | NEW_PIDS | NEW_MOUNTS | NEW_IPC | NEW_UTS
    user, group = os.getuid(), os.getgid()
    call("unshare", kinds if user == 0 else kinds | NEW_USER)
    if user != 0:
        for path, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{path}", "w") as file:
                file.write(text)
    call("mount", None, b"/", None, PRIVATE | RECURSIVE, None)
    call("mount", spec["prefix"].encode(), spec["python"].encode(), None, BIND, None)  # where no folder above it is in the way
    size = f"size={spec['files']},mode=0777".encode()
    for place in (spec["folder"], "/run", "/dev/shm"):
        if os.path.isdir(place):
            call("mount", b"tmpfs", place.encode(), b"tmpfs", NOSUID | NODEV, size)


def confine(spec: dict, home: str) -> None:
    """No new privileges, and Landlock: read what the interpreter in `home` needs, write in the own folder, nothing else; no TCP."""
    call("prctl", 38, 1, 0, 0, 0)
    version = call("syscall", CREATE_RULESET, None, 0, 1)
    handled = ALL_FILES.get(version, 0xFFFF)
    rules = struct.pack("QQQ", handled, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = call("syscall", CREATE_RULESET, rules, len(rules), 0)
    rules_for = {path: READ for path in [home, *spec["readable"]]} | {spec["folder"]: handled & ~0x8000, "/dev/null": 0b110}
    for path, rights in rules_for.items():
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not os.path.isdir(path):
            rights &= 0b111
        call("syscall", ADD_RULE, ruleset, 1, struct.pack("=Qi", rights & handled, place), 0)
        os.close(place)
    call("syscall", RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def limit(spec: dict) -> None:
    seconds = int(spec["seconds"]) + 1
    for what, most in (
        (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, spec["memory"]), (resource.RLIMIT_FSIZE, spec["files"]),
        (resource.RLIMIT_NPROC, spec["processes"]), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (most, most))
    most = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = min(STACK, most) if most != resource.RLIM_INFINITY else STACK
    resource.setrlimit(resource.RLIMIT_STACK, (stack, most))


def program(spec: dict, status: int, contained: bool) -> None:
    """In the child: give everything up and become the program."""
    user = os.getuid()
    os.chdir(spec["folder"])
    os.set_inheritable(status, False)
    os.closerange(status + 1, 4096)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if user == 0:
        os.setgroups([])
        os.setgid(spec["user"])
        os.setuid(spec["user"])
    limit(spec)
    home = spec["python"] if contained else spec["prefix"]
    try:
        confine(spec, home)
    except OSError:
        if contained:
            raise
    call("prctl", 1, signal.SIGKILL, 0, 0, 0)  # when the warden dies
    os.write(status, b'{"started": true}\n')
    python = os.path.join(home, spec["executable"])
    shared = any(".so" in name for name in os.listdir(os.path.join(home, "lib")) if name.startswith("libpython"))
    environment = {"LD_LIBRARY_PATH": os.path.join(home, "lib")} if shared else {}
    os.execve(python, [python, "-I", "-B", "-c", spec["runner"], spec["function"]], environment)


def main() -> None:
    path, status = sys.argv[1], int(sys.argv[2])

    def say(**line) -> None:
        os.write(status, (json.dumps(line) + "\n").encode())

    call("prctl", 1, signal.SIGTERM, 0, 0, 0)  # when racviz dies
    with open(path, encoding="utf-8") as file:
        spec = json.load(file)
    spec["user"] = NOBODY + os.getpid() % 60_000
    contained = True
    try:
        if call("syscall", CREATE_RULESET, None, 0, 1) < 1:
            raise OSError("Landlock is off")
        shut_in(spec)
    except OSError as error:
        contained = False
        if not spec["unsafe"]:
            say(refused=f"this system does not let a program be shut in ({error})")
            return
    with open(os.path.join(spec["folder"], "program.py"), "w", encoding="utf-8") as file:
        file.write(spec["program"])
    os.chmod(spec["folder"], 0o777)
    child = os.fork()
    if child == 0:
        try:
            program(spec, status, contained)
        except BaseException as error:
            say(refused=f"a program cannot be shut in here ({type(error).__name__}: {error})")
        os._exit(1)

    def end(*_: object) -> None:
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    _, code = os.waitpid(child, 0)
    say(code=os.waitstatus_to_exitcode(code))


main()
