"""The teachers' own text as traces: what the embedded models were trained on, on problems that trained none of them."""

import itertools
import random

from racviz.exceptions import ParameterError
from racviz.models import LoadedModel, tokenizer_fingerprint
from racviz.problems import Problem
from racviz.tiny.domains import DOMAINS
from racviz.tiny.lesson import stream
from racviz.traces import Trace, Traces

STYLES = {
    "tiny-reasoner": {"arithmetic": "columns", "tracing": "state"},
    "tiny-reasoner-seed1": {"arithmetic": "columns"},
    "tiny-reasoner-small": {"arithmetic": "places", "tracing": "changes"},
}
"""In which style each embedded model was taught to think."""


def teacher_of(loaded: LoadedModel, domain: str) -> str:
    """The embedded model whose teacher wrote for this model and domain. Raises ParameterError where there is none."""
    base = loaded.provenance.get("base", loaded.name)
    if domain not in STYLES.get(base, ()):
        raise ParameterError(
            f"trace_source='teacher' is for the embedded models ({', '.join(STYLES)}) and the domains that they were taught; not for "
            f"{loaded.name!r} on {domain!r}."
        )
    return base


def teacher_traces(loaded: LoadedModel, domain: str, first: int, count: int, t_max: int) -> Traces:
    """Traces of the teacher of an embedded model, without slips of its own choosing: on `count` calibration problems from the `first` on.

    Off-policy by construction, in the model's own style. Each is cut at `t_max` tokens, as sampled ones are.

    Raises ParameterError for a model or a domain that has no teacher.
    """
    base = teacher_of(loaded, domain)
    style, rows = STYLES[base][domain], []
    for task in itertools.islice(stream(DOMAINS[domain].make, "calibration"), first, first + count):
        segments = DOMAINS[domain].teach(task, style, random.Random(f"teacher {task.id}"))
        text = "<think>" + "".join(piece for piece, _ in segments) + f"</think>\n{task.answer}"
        ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"] + [loaded.tokenizer.eos_token_id]
        problem = Problem(task.id, task.prompt, task.answer)
        reason = "stop" if len(ids) <= t_max else "length"
        rows.append(Trace(task.id, 0, tuple(loaded.render(problem.text)), tuple(ids[:t_max]), reason, problem.content_hash))
    return Traces(
        tuple(rows), "teacher", "", tokenizer_fingerprint(loaded.tokenizer), {"style": style, "max_new_tokens": t_max}
    )
