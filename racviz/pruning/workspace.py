"""A folder in which a long pruning run keeps its finished blocks, so that the same call goes on after it was killed."""

import contextlib
import ctypes
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from racviz.exceptions import DataError
from racviz.store import atomic, explained, hash_file, read_text, write_text
from racviz.store.drafts import drafts_in, remove
from racviz.store.kinds import Progress
from racviz.store.locks import alone
from racviz.store.schemas import checked, loaded_json, wrong


class Workspace:
    """A folder with the weights of every finished block and the hidden states before the next; or, without one, nothing.

    `progress.json` is written last: what it does not name does not count, so a run may be killed at any moment.
    As a context it holds the folder, so that no other run works in it. Raises StorageError where one does.
    """

    def __init__(self, folder: str | Path | None, identity: str) -> None:
        self.folder = None if folder is None else Path(folder)
        self.identity, self.done = identity, 0
        self.rows: list[dict[str, Any]] = []
        self.hashes: dict[str, str] = {}
        if self.folder is not None:
            with explained("make the workspace", self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Workspace":
        with contextlib.ExitStack() as stack:
            if self.folder is not None:
                stack.enter_context(alone(self.folder, "prune"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restore(self, blocks: nn.ModuleList) -> int:
        """Load the finished blocks into the model; returns how many blocks need no more work.

        Raises DataError where the folder holds another run.
        """
        if self.folder is None:
            return 0
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        for draft in drafts_in(
            self.folder
        ):  # of a run that was killed while it wrote: the folder is held, so nobody writes now
            remove(draft.path)
        if not os.path.lexists(self._progress):
            for stale in [*self.folder.glob("block-*.safetensors"), *self.folder.glob("hidden-*.safetensors")]:
                remove(stale)
            return 0
        state = self._state(len(blocks))
        if state["identity"] != self.identity:
            raise DataError(
                f"the workspace {self.folder} holds another run (another model, calibration set or parameters); choose another "
                "folder, or delete this one."
            )
        self.done, self.rows, self.hashes = state["done"], state["rows"], state["hashes"]
        for name, digest in self.hashes.items():
            path = self.folder / name
            try:
                if hash_file(path) != digest:
                    raise DataError(f"{path} is not the file that this run kept; delete the folder and prune anew.")
                block = blocks[int(path.stem.split("-")[1])]
                block.load_state_dict(load_file(path), assign=_on_cpu(block))
            except (OSError, SafetensorError, RuntimeError) as error:  # torch raises the last for other names or shapes
                raise DataError(f"{path} is missing or damaged ({error}); delete the folder and prune anew.") from error
        return self.done

    def _state(self, blocks: int) -> dict[str, Any]:
        """The content of progress.json, checked. Raises DataError."""
        try:
            state = loaded_json(read_text(self._progress), "it", field="the content")
            checked(state, Progress, "it")
            if state["done"] > blocks:
                raise wrong("it", None, "done", state["done"], f"a number up to {blocks}, the blocks of the model")
            if foreign := set(state["hashes"]) - {self._block(k).name for k in range(blocks)}:
                raise wrong("it", None, "hashes", min(foreign), "names of the model's blocks")
        except (OSError, ValueError, DataError) as error:
            raise DataError(f"{self._progress} is damaged ({error}). Delete the folder and prune anew.") from error
        return state

    def keep(self, index: int, block: nn.Module, rows: list[dict[str, Any]]) -> None:
        """A block is finished: its weights and its rows of the report become durable."""
        self.rows, self.done = [*self.rows, *rows], index + 1
        if self.folder is None:
            return
        from safetensors.torch import load_file, save_file

        with explained("keep a finished block in", self.folder):
            if rows:
                path = self._block(index)
                with atomic(path) as draft:  # copies where weights are shared, which safetensors refuses
                    save_file(_apart(block.state_dict()), draft)
                self.hashes[path.name] = hash_file(path)
                if _on_cpu(block):  # from here on mapped from the file, not held in memory
                    block.load_state_dict(load_file(path), assign=True)
                    give_back()
            state = {"identity": self.identity, "done": self.done, "rows": self.rows, "hashes": self.hashes}
            write_text(self._progress, json.dumps(state))

    def finished(self) -> None:
        """Nothing is left to do: hidden states are no longer needed."""
        if self.folder is not None:
            for path in self.folder.glob("hidden-*.safetensors"):
                path.unlink()

    def _block(self, index: int) -> Path:
        assert self.folder is not None  # without one nothing is kept
        return self.folder / f"block-{index}.safetensors"

    @property
    def _progress(self) -> Path:
        assert self.folder is not None
        return self.folder / "progress.json"


def _apart(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors on the CPU, each in memory of its own."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        apart[name] = tensor.clone() if tensor.untyped_storage().data_ptr() in seen else tensor
        seen.add(tensor.untyped_storage().data_ptr())
    return apart


def give_back() -> None:
    """Freed memory goes back to the system, where the C library can: glibc keeps it in holes, half a block's weights a block."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _on_cpu(block: nn.Module) -> bool:
    return all(p.device.type == "cpu" for p in block.parameters())
