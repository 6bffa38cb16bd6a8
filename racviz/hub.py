"""The Hugging Face hub: names of models and data sets, local copies of models, and one line for what goes wrong there."""

import contextlib
import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from racviz.exceptions import DataError

ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
REASONERS = (
    *(f"deepseek-ai/DeepSeek-R1-Distill-Qwen-{size}" for size in ("1.5B", "7B", "14B", "32B")),
    *(f"deepseek-ai/DeepSeek-R1-Distill-Llama-{size}" for size in ("8B", "70B")),
    *(f"Qwen/Qwen3-{size}" for size in ("0.6B", "1.7B", "4B", "8B", "14B", "32B")),
    "Qwen/QwQ-32B", "HuggingFaceTB/SmolLM3-3B", "HuggingFaceTB/SmolLM2-135M-Instruct",
)  # fmt: skip
"""Ids to propose for a misspelt one where the hub cannot be asked."""
WAIT = 10.0
"""Seconds to wait for the hub's answer to a question."""
CHECKPOINT_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]


def is_id(name: str) -> bool:
    return bool(ID.fullmatch(name))


def snapshot(name: str, revision: str | None = None, code: bool = False, weights: bool = True) -> tuple[Path, str]:
    """The local copy of a model's checkpoint, fetched if need be, and its commit. Only safetensors, configs and the tokenizer.

    code: also the repository's Python files, for trust_remote_code. weights: False leaves the large files out. A copy in the hub's
    own cache is used without a network.

    Raises DataError in one line: no network, no such id (with the nearest), no such revision, no permission.
    """
    from huggingface_hub import snapshot_download

    wanted = CHECKPOINT_FILES[0 if weights else 1 :] + ["*.py"] * code
    instead = "Pass a local folder or one of the embedded models (tiny-reasoner, …)"
    with explained(f"model {name!r}, which is not a folder here,", name, "model", instead, REASONERS):
        folder = Path(
            snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns=["*/*", "consolidated*"])
        )
    return folder, folder.name


def probe_dataset(name: str, revision: str | None) -> None:
    """Ask for a data set's card, once, so that a hub that cannot be reached is known in seconds: streaming tries for half a minute."""
    from huggingface_hub import HfApi

    HfApi().dataset_info(name, revision=revision, timeout=WAIT)


@contextlib.contextmanager
def explained(what: str, name: str, kind: str, instead: str, known: tuple[str, ...]) -> Iterator[None]:
    """Turn what the hub's library raises into one line that says what is wrong and what to do.

    kind: `model` or `dataset`. instead: what to pass where there is no network. No message of the hub's holds a token.
    """
    from huggingface_hub import errors

    try:
        yield
    except DataError:
        raise
    except Exception as error:
        chain = list(_chain(error))

        def among(*kinds: type) -> bool:
            return any(isinstance(each, kinds) for each in chain)

        if among(errors.GatedRepoError) or "is a gated dataset" in str(error):
            reason = "access is gated: accept its conditions on the hub, then log in with `hf auth login` (or set HF_TOKEN)"
        elif among(errors.RevisionNotFoundError):
            reason = "it has no such revision; a branch, a tag or a commit is allowed"
        elif among(errors.RepositoryNotFoundError) or type(error).__name__ == "DatasetNotFoundError":
            reason = f"there is no such {kind}, or it is private and you are not logged in.{_nearest(name, kind, known)}"
        elif among(errors.HFValidationError):
            reason = "that is no hub id; one looks like owner/name"
        elif among(errors.HfHubHTTPError) and not among(errors.LocalEntryNotFoundError):
            reason = f"the hub refused: {_first_line(error)}"
        elif among(errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError) or any(
            type(each).__module__.split(".")[0] in ("httpx", "httpcore", "socket", "aiohttp") for each in chain
        ):
            reason = f"no network: the hub cannot be reached, and there is no local copy.{_near(name, known)} {instead}"
        else:
            raise
        end = "" if reason[-1] in ".?" else "."
        raise DataError(f"{what} could not be had from the hub: {reason}{end}") from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().split("\n")[0].rstrip(".")


def _nearest(name: str, kind: str, known: tuple[str, ...]) -> str:
    """The nearest id: of those known here, else of those that the hub finds for the words of the name."""
    if near := _near(name, known):
        return near
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    owner, _, rest = name.partition("/")
    found: list[str] = []
    try:
        for query in ({"author": owner}, {"search": rest}):
            url = f"{constants.ENDPOINT}/api/{kind}s"
            found += [each["id"] for each in get_session().get(url, params={**query, "limit": 200}, timeout=WAIT).json()]
    except Exception:  # a hint, not worth an error of its own
        pass
    return _near(name, tuple(found))


def _near(name: str, known: tuple[str, ...]) -> str:
    if name in known:
        return ""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.75)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""
