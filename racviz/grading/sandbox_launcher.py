"""Shut itself in and start a program there: run as `python -I -S sandbox_launcher.py SPEC STATUS`; imports nothing of racviz.

The launcher makes the namespaces and stays as their warden: whatever happens to it, the program ends. The program is the first process of
its namespace and cannot start another, so that everything ends with it.

Each wall is one function. Most of what a program may not do is stopped by two of them, so that one mistake, here or in the kernel, opens
nothing.
"""

import ctypes
import json
import os
import resource
import select
import signal
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
PRIVATE, NOSUID, NODEV, NOEXEC, BIND, RECURSIVE = 1 << 18, 2, 4, 8, 4096, 16384
MOUNT_SETATTR, AS_READ_ONLY, AS_NOSUID, AS_NODEV, AS_NOEXEC, WHOLE_TREE = 442, 1, 2, 4, 8, 0x8000
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
READ = 0b1101  # execute, read a file, read a folder
ALL_FILES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}  # the rights that each version of Landlock knows
STACK = 2**27
"""Bytes of the program's main stack: room for functions in C that call each other 50,000 deep."""
NOBODY = ((200_000, 60_000), (60_600, 500))
"""Users who own nothing: (first, how many). Each program of root's gets one of its own, so that limits on threads are its own too."""
DEVICES = ("null", "zero", "urandom", "random")
FOLDER = "/program"
"""The own folder of a program inside its root."""
INODES = 4096
"""Files and folders that a program may make there."""
WHY_NOT = (
    ("/proc/sys/user/max_user_namespaces", "0", "user namespaces are off: user.max_user_namespaces is 0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "user namespaces are off: kernel.unprivileged_userns_clone is 0"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
     "AppArmor restricts user namespaces: kernel.apparmor_restrict_unprivileged_userns is 1"),
)  # fmt: skip
"""Settings of a system that stop an ordinary user from making namespaces: file, value, sentence."""


def call(name: str, *arguments) -> int:
    """A function of libc; raises OSError."""
    result = getattr(LIBC, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def system_call(name: str, number: int, *arguments) -> int:
    """A system call that has no function in libc; raises OSError."""
    result = LIBC.syscall(number, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def namespaces(spec: dict) -> None:
    """Wall: no network, no other processes, no System V memory or queues, mounts and a host name of its own.

    Root becomes a user who owns nothing later. Everybody else, and root without the right to do so, becomes the only user of a user
    namespace, with a number that says nothing.
    """
    kinds = NEW_NET | NEW_PIDS | NEW_MOUNTS | NEW_IPC | NEW_UTS
    if spec["user"] is not None:
        try:
            call("unshare", kinds)
        except OSError:  # root of a container
            spec["user"] = user_namespace(kinds, spec["user"])
    else:
        user_namespace(kinds, None)
    call("sethostname", b"sandbox", 7)


def user_namespace(kinds: int, nobody: int | None) -> int | None:
    """Enter a user namespace; the number of `nobody` in it, a second user whom only root can bring there.

    A process of root's outside writes the table of users, as the one inside has no rights outside any more.
    """
    entered, tell = os.pipe()
    launcher, user, group = os.getpid(), os.getuid(), os.getgid()
    writer = os.fork() if nobody is not None else None
    if writer == 0:
        os.close(tell)
        try:
            if os.read(entered, 1):
                for name in ("uid_map", "gid_map"):
                    with open(f"/proc/{launcher}/{name}", "w") as file:
                        file.write(f"65534 0 1\n65533 {nobody} 1")
                os._exit(0)
        finally:
            os._exit(1)
    call("unshare", kinds | NEW_USER)
    os.write(tell, b"x")
    os.close(tell)
    if writer is not None:
        if os.waitpid(writer, 0)[1]:
            raise OSError("root may not bring a second user into its namespace")
        return 65533
    for path, text in (("setgroups", "deny"), ("uid_map", f"65534 {user} 1"), ("gid_map", f"65534 {group} 1")):
        with open(f"/proc/self/{path}", "w") as file:
            file.write(text)
    return None


def nobody() -> int | None:
    """A user of this system (a container may have few) who owns nothing, one for each program; None where there is none."""
    with open("/proc/self/uid_map") as file:
        rows = [[int(word) for word in line.split()] for line in file]
    for least, many in NOBODY:
        if any(first <= least and least + many <= first + count for first, _, count in rows):
            return least + os.getpid() % many
    return None


def own_root(spec: dict) -> None:
    """Wall: a root of its own, in memory and read-only, with the interpreter, libraries, four devices and the input; nothing of the user's.

    The own folder is the only place to write, as large as files may be. There is no /proc, no /etc but the linker's cache, no /tmp.
    """
    root = spec["root"]
    call("mount", None, b"/", None, PRIVATE | RECURSIVE, None)
    call("mount", b"tmpfs", root.encode(), b"tmpfs", NOSUID, b"size=1m,nr_inodes=512,mode=0755")
    for source, target in spec["readable"]:
        if os.path.islink(source):
            os.makedirs(os.path.dirname(root + target), 0o755, exist_ok=True)
            os.symlink(os.readlink(source), root + target)
        else:
            bind(source, root + target)
    for name in DEVICES:
        bind(f"/dev/{name}", f"{root}/dev/{name}", device=True)
    bind(spec["input"], root + "/dev/stdin")
    for path in ("/dev/fd/0", "/proc/self/fd/0"):
        os.makedirs(os.path.dirname(root + path), 0o755, exist_ok=True)
        os.symlink("/dev/stdin", root + path)
    os.mkdir(root + FOLDER, 0o755)
    set_attributes(root, AS_READ_ONLY | AS_NOSUID | AS_NODEV | AS_NOEXEC, 0)
    options = f"size={spec['files']},nr_inodes={INODES},mode=0777".encode()
    call("mount", b"tmpfs", (root + FOLDER).encode(), b"tmpfs", NOSUID | NODEV | NOEXEC, options)
    os.chdir(root)
    system_call("pivot_root", spec["numbers"]["pivot_root"], b".", b".")
    call("umount2", b".", 2)  # the old root, which lay above the new one, with all its folders
    os.chdir("/")
    spec |= {"folder": FOLDER, "input": "/dev/stdin"}


def bind(source: str, target: str, device: bool = False) -> None:
    """Show a file or a folder, with what is mounted in it, read-only, without devices and without programs that give rights."""
    if os.path.isdir(source):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    call("mount", source.encode(), target.encode(), None, BIND | RECURSIVE, None)
    set_attributes(target, AS_READ_ONLY | AS_NOSUID | (AS_NOEXEC if device else AS_NODEV), WHOLE_TREE)


def set_attributes(path: str, attributes: int, tree: int) -> None:
    structure = struct.pack("QQQQ", attributes, 0, 0, 0)
    system_call("mount_setattr (Linux 5.12)", MOUNT_SETATTR, -100, path.encode(), tree, structure, len(structure))


def own_keyring(spec: dict) -> None:
    """Wall: a session keyring of its own, empty. Where a container refuses even that, the filter of calls keeps the program from it."""
    try:
        system_call("keyctl", spec["numbers"]["keyctl"], 1, None)
    except OSError:
        if not spec["filter"]:
            raise


def own_user(spec: dict) -> None:
    """Wall: no rights of root, now or later."""
    call("prctl", 38, 1, 0, 0, 0)  # no new privileges
    for capability in range(64):
        LIBC.prctl(24, capability, 0, 0, 0)  # out of the bounding set
    user = spec["user"]
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header, nothing = struct.pack("II", 0x20080522, 0), bytes(24)
    call("capset", header, nothing)


def landlock(spec: dict) -> None:
    """Wall: read what the interpreter needs, write in the own folder, nothing else; no TCP. Linux before 5.13 has none."""
    try:
        version = system_call("landlock_create_ruleset", CREATE_RULESET, None, 0, 1)
    except OSError:
        return
    handled = ALL_FILES.get(version, 0xFFFF)
    rules = struct.pack("QQQ", handled, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = system_call("landlock_create_ruleset", CREATE_RULESET, rules, len(rules), 0)
    readable = [pair[1 if spec["contained"] else 0] for pair in spec["readable"]]
    readable += [spec["input"], *(f"/dev/{name}" for name in DEVICES)]
    rules_for = dict.fromkeys(readable, READ) | {spec["folder"]: handled & ~0x8000, "/dev/null": 0b110}
    for path, rights in rules_for.items():
        if os.path.exists(path):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            if not os.path.isdir(path):
                rights &= 0b111
            system_call("landlock_add_rule", ADD_RULE, ruleset, 1, struct.pack("=Qi", rights & handled, place), 0)
            os.close(place)
    system_call("landlock_restrict_self", RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def limits(spec: dict) -> None:
    """Wall: time of the processor, memory, sizes, threads, descriptors.

    The program is one process, so that the limit on its addresses is the limit on all its memory. A core of at most one byte is no core,
    even where the system pipes cores to a program of root's (to which 0 is no limit).
    """
    seconds = int(spec["seconds"]) + 1
    for what, most in (
        (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, spec["memory"]), (resource.RLIMIT_FSIZE, spec["files"]),
        (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 1), (resource.RLIMIT_MEMLOCK, 0), (resource.RLIMIT_MSGQUEUE, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (most, most))
    _, most = resource.getrlimit(resource.RLIMIT_STACK)
    stack = STACK if most == resource.RLIM_INFINITY else min(STACK, most)
    resource.setrlimit(resource.RLIMIT_STACK, (stack, most))
    if spec["user"] is not None or spec["contained"]:  # else the user's other processes would count
        limit_threads(spec["processes"] + (spec["user"] is None))  # the launcher is another one of the same user


def limit_threads(most: int) -> None:
    """Set the limit, once it is known to hold: Linux does not limit the first user of the machine."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, most))
    try:
        child = os.fork()
    except OSError:
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        return
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    raise OSError("threads of this user cannot be limited")


def system_calls(spec: dict) -> None:
    """Wall: an allow list of system calls (seccomp.py)."""
    code = bytes.fromhex(spec["filter"])
    if not code:
        return  # refused before, unless the caller insists
    steps = ctypes.create_string_buffer(code, len(code))
    call("prctl", 22, 2, struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(steps)), 0, 0)


def program(spec: dict, status: int, alive: int) -> None:
    """Give everything up and become the program, in the child."""
    os.chdir(spec["folder"])
    os.set_inheritable(status, False)
    os.dup2(os.open(spec["input"], os.O_RDONLY | os.O_CLOEXEC), 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    own_keyring(spec)
    own_user(spec)
    call("prctl", 1, signal.SIGKILL, 0, 0, 0)  # when the warden dies
    if select.select([alive], [], [], 0)[0]:
        os._exit(1)  # it died before that
    limits(spec)
    landlock(spec)
    python = spec["python"][1 if spec["contained"] else 0]
    libraries = os.path.join(os.path.dirname(os.path.dirname(python)), "lib")
    shared = any(".so" in name for name in os.listdir(libraries) if name.startswith("libpython"))
    os.write(status, b'{"started": true}\n')
    system_calls(spec)
    packages = spec["packages"][1 if spec["contained"] else 0]
    command = [python, "-I", "-B", "-c", spec["runner"], spec["function"], packages]
    os.execve(python, command, {"LD_LIBRARY_PATH": libraries} if shared else {})


def shut_in(spec: dict) -> str:
    """Make the walls around the launcher itself; the reason why not, or an empty text."""
    try:
        if not spec["filter"]:
            raise OSError(f"the system calls of this machine ({os.uname().machine}) are not known")
        namespaces(spec)
        own_root(spec)
    except OSError as error:
        return f"{error}{next((f'; {why}' for why in map(switched_off, WHY_NOT) if why), '')}"
    return ""


def switched_off(setting: tuple[str, str, str]) -> str:
    path, value, why = setting
    try:
        with open(path) as file:
            return why if file.read().strip() == value else ""
    except OSError:
        return ""


def main() -> None:
    path, status = sys.argv[1], int(sys.argv[2])

    def say(**line) -> None:
        os.write(status, (json.dumps(line) + "\n").encode())

    call("prctl", 1, signal.SIGTERM, 0, 0, 0)  # when racviz dies
    with open(path, encoding="utf-8") as file:
        spec = json.load(file)
    if os.getppid() != spec["parent"]:
        return  # it died before that
    root = os.getuid() == 0
    spec["user"] = nobody() if root else None
    why_not = shut_in(spec) if spec["contained"] else ""
    if root and spec["user"] is None:
        why_not = why_not or "there is no user who owns nothing, and no program runs as root"
    if why_not:
        say(refused=f"this system does not let a program be shut in ({why_not})")
        return
    with open(os.path.join(spec["folder"], "program.py"), "w", encoding="utf-8") as file:
        file.write(spec["program"])
    os.chmod(spec["folder"], 0o777)
    alive, own_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(own_end)
        try:
            program(spec, status, alive)
        except BaseException as error:
            say(refused=f"a program cannot be shut in here ({type(error).__name__}: {error})")
        os._exit(1)

    def end(*_: object) -> None:
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    _, code = os.waitpid(child, 0)
    say(code=os.waitstatus_to_exitcode(code))


main()
