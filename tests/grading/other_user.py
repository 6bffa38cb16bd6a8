"""Runs programs in the sandbox as somebody else: `python other_user.py FOLDER KIND` as root, JSON lines in and out.

KIND: `user` (an ordinary one), `weak root` (root without CAP_SYS_ADMIN, as in a container), `no namespaces` (an ordinary user where they
are switched off), `lonely root` (root of a container without any other user, where they are off too). The interpreter and racviz are
shown in FOLDER, as their own folders may be closed to others.
"""

import ctypes
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

UID = 61_234
NEW_MOUNTS, NEW_USER, PRIVATE, BIND, RECURSIVE = 0x20000, 0x10000000, 1 << 18, 4096, 16384


def become(folder: Path, kind: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments) -> None:
        if getattr(libc, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")

    call("unshare", NEW_MOUNTS)
    call("mount", None, b"/", None, PRIVATE | RECURSIVE, None)
    import racviz

    sources = {"python": sys.base_prefix, "tree": str(Path(racviz.__file__).parents[1]), "tests": str(Path(__file__).parent)}
    packages = [path for path in sys.path if path.endswith("site-packages")]
    sources |= {f"site{k}": path for k, path in enumerate(packages)}
    for name, source in sources.items():
        (folder / name).mkdir(exist_ok=True)
        call("mount", source.encode(), str(folder / name).encode(), None, BIND | RECURSIVE, None)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    if kind in ("no namespaces", "lonely root"):
        entered, tell = os.pipe()
        writer = os.fork()
        if writer == 0:  # outside, where root may map any user
            os.read(entered, 1)
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{os.getppid()}/{name}").write_text("0 0 1" if kind == "lonely root" else f"0 0 1\n{UID} {UID} 1")
            os._exit(0)
        call("unshare", NEW_USER)
        os.write(tell, b"x")
        os.waitpid(writer, 0)
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    if kind == "weak root":
        call("prctl", 24, 21, 0, 0, 0)  # CAP_SYS_ADMIN: out of the bounding set, so gone with the next program
    elif kind != "lonely root":
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
    executable = Path(os.path.realpath(sys._base_executable)).relative_to(os.path.realpath(sys.base_prefix))
    environment = {"PYTHONPATH": ":".join([str(folder / "tree"), *(str(folder / f"site{k}") for k in range(len(packages)))])}
    python = str(folder / "python" / executable)
    os.execve(
        python, [python, "-B", str(folder / "tests" / "other_user.py"), "serve"], environment | {"HOME": "/", "PATH": "/bin"}
    )


def serve() -> None:
    from racviz.exceptions import RacvizError
    from racviz.grading.sandbox import Limits, run_program

    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = asdict(run_program(asked["program"], asked["given"], Limits(**asked["limits"]), **asked["options"]))
        except RacvizError as error:
            answer = {"refused": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        become(Path(sys.argv[1]), sys.argv[2])
