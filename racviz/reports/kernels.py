"""Kernels of this very interpreter for reports: of several in a row the next one starts while the last is at work."""

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from racviz.progress import relayed

IMPORTS = "import racviz.figures, racviz.reports, torch, transformers.modeling_utils"
"""Imports that every report needs and waits seconds for: a kernel that starts ahead has them at hand."""


class Kernels:
    """A fresh kernel for each report, as a context: on leaving it those that are left are ended.

    reports: how many are to come. From the second on a kernel starts, and imports what all need, while the one before is at work.
    early: the first kernel starts at once too, for a caller who has something else to do before its report.
    """

    def __init__(self, reports: int = 1, progress: bool = True, early: bool = False) -> None:
        self._left, self._ahead, self._progress, self._early = reports, reports > 1 or early, progress, early
        self._waiting: Any = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Kernels":
        with contextlib.ExitStack() as stack:
            more = stack.enter_context(relayed(self._progress))
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="racviz-kernel-")))
            _write_spec(self._folder, more, IMPORTS if self._ahead else "")
            self._waiting = self._start() if self._early else None
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end(self._waiting)
        self._stack.close()

    @contextlib.contextmanager
    def one(self):
        """A kernel's manager, for one report; the kernel is ended with it."""
        kernel, self._waiting = self._waiting or self._start(), None
        self._left -= 1
        try:
            if self._left > 0:
                self._waiting = self._start()
            yield kernel
        finally:
            self._end(kernel)

    def _start(self):
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager
        from jupyter_core.utils import run_sync

        # no other folder is looked into: whatever kernels are installed for the user, python3 is this interpreter
        specs = KernelSpecManager(kernel_dirs=[str(self._folder)], ensure_native_kernel=False)
        kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
        run_sync(kernel.start_kernel)()
        return kernel

    def _end(self, kernel: Any) -> None:
        from jupyter_core.utils import run_sync

        if kernel is not None and kernel.has_kernel:
            run_sync(kernel.shutdown_kernel)(now=True)


def _write_spec(folder: Path, more: dict[str, str], first: str) -> None:
    """Write the kernel `python3` into a folder. more: variables for its environment. first: what it runs before all else."""
    environment = {
        "PLOTLY_RENDERER": "plotly_mimetype+notebook",
        "TQDM_DISABLE": "1",
        "RACVIZ_STATIC": "1",
        **more,
    }  # output that is fit for a page
    home = Path(__file__).resolve().parents[2]
    if home.name not in ("site-packages", "dist-packages"):  # a checkout that may not be installed
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH")]))
    launcher = [
        sys.executable,
        "-Xfrozen_modules=off",
        "-m",
        "ipykernel_launcher",
        "--log-level=ERROR",
        "-f",
        "{connection_file}",
    ]
    argv = [*launcher, *([f"--IPKernelApp.exec_lines={first}"] if first else [])]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python", "env": environment}
    kernel = folder / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps(spec), encoding="utf-8")
