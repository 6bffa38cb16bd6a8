"""Where a long pruning run keeps what it has finished, so that the same call goes on after it was killed."""

import contextlib
import ctypes
import json
from pathlib import Path
from typing import Any

from torch import nn

from racviz.errors import DataError
from racviz.store import atomic, explained, write_text


class Workspace:
    """A folder with the weights of every finished block and the hidden states before the next; or, without one, nothing.

    `progress.json` is written last: what it does not name does not count, so a run may be killed at any moment.
    """

    def __init__(self, folder: str | Path | None, identity: str) -> None:
        self.folder = None if folder is None else Path(folder)
        self.identity, self.rows, self.done = identity, [], 0
        if self.folder is not None:
            with explained("make the workspace", self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)

    def restore(self, blocks: nn.ModuleList) -> int:
        """Load the finished blocks into the model; returns how many blocks need no more work.

        Raises DataError where the folder holds another run.
        """
        if self.folder is None or not self._progress.exists():
            return 0
        from safetensors.torch import load_file

        try:
            state = json.loads(self._progress.read_text(encoding="utf-8"))
            identity, self.done, self.rows = state["identity"], state["done"], state["rows"]
        except (ValueError, KeyError) as error:
            raise DataError(f"{self._progress} is damaged ({error}); delete the folder and prune anew.") from error
        if identity != self.identity:
            raise DataError(
                f"the workspace {self.folder} holds another run (another model, calibration set or parameters); choose another "
                "folder, or delete this one."
            )
        for index in range(self.done):
            if (path := self._block(index)).exists():
                blocks[index].load_state_dict(load_file(path), assign=_on_cpu(blocks[index]))
        return self.done

    def keep(self, index: int, block: nn.Module, rows: list[dict[str, Any]]) -> None:
        """A block is finished: its weights and its rows of the report become durable."""
        self.rows, self.done = [*self.rows, *rows], index + 1
        if self.folder is None:
            return
        from safetensors.torch import load_file, save_file

        with explained("keep a finished block in", self.folder):
            if rows:
                path = self._block(index)
                with atomic(path) as draft:
                    save_file({k: v.detach().cpu().contiguous() for k, v in block.state_dict().items()}, draft)
                if _on_cpu(block):  # from here on mapped from the file, not held in memory
                    block.load_state_dict(load_file(path), assign=True)
                    give_back()
            write_text(self._progress, json.dumps({"identity": self.identity, "done": self.done, "rows": self.rows}))

    def _block(self, index: int) -> Path:
        return self.folder / f"block-{index}.safetensors"

    @property
    def _progress(self) -> Path:
        return self.folder / "progress.json"


def give_back() -> None:
    """Freed memory goes back to the system, where the C library can: glibc keeps it in holes, half a block's weights a block."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _on_cpu(block: nn.Module) -> bool:
    return all(p.device.type == "cpu" for p in block.parameters())
