"""Expected time of a command: known on a CPU, for racviz's own loops; None elsewhere."""

from collections.abc import Sequence
from typing import Any

from racviz.exceptions import RacvizError


def time_at_most(seconds: float) -> str:
    """Seconds as an upper bound, for people."""
    from racviz.planning.expected import time_text

    return f"at most about {time_text(max(1.0, seconds))}"


def plan_time(plan: Any, values: dict[str, Any]) -> float | None:
    """Expected seconds of a report with these parameters, from its plan for this CPU."""
    import torch

    gpu = torch.cuda.is_available() and values.get("device") != "cpu"
    return None if gpu else plan.seconds


def generating_time(
    loaded: Any,
    problems: Sequence[Any],
    name: str,
    samples: int,
    cap: int,
    batch: int,
    backend: str,
) -> float | None:
    """Expected seconds to generate answers or traces.

    Parameters
    ----------
    loaded : LoadedModel
        The model that generates.
    problems : sequence of Problem
        The problems; the mean length of the first ones stands for all.
    name : str
        The name of the problems: of an embedded model on its own ones the length is known.
    samples, cap, batch : int
        Answers a problem, tokens of an answer at most, rows generated at a time.
    backend : str
        Anything but `hf` has a time of its own.
    """
    if backend != "hf" or loaded.device.type != "cpu" or not problems:
        return None
    from racviz.generation.cost import Rows
    from racviz.planning.expected import SAMPLE, cards, generating_seconds
    from racviz.pruning.cost import Machine

    some = problems[:SAMPLE]
    prompt = sum(len(loaded.render(problem.text)) for problem in some) / len(some)
    mean = min(cap, cards().get(loaded.name, {}).get(name, {}).get("median_decode") or cap)
    longest = min(cap, round(3 * mean))
    rows = Rows(samples * len(problems), prompt, float(mean), longest, batch)
    return generating_seconds(loaded.model, rows, Machine.measured())


def pruning_time(loaded: Any, scope: Any, tokens: int, length: int, mode: str) -> float | None:
    """Expected seconds to prune on so many tokens, in rows of at most `length`."""
    if loaded.device.type != "cpu":
        return None
    from racviz.pruning.cost import Machine, Shapes, expected_cost

    shapes, machine = Shapes.of(loaded.model, scope), Machine.measured()
    cost = expected_cost(shapes, tokens, machine, mode=mode, length=min(length, tokens))
    return cost.total_seconds


def errors_time(loaded: Any, models: int, rollouts: Any) -> float | None:
    """Expected seconds to measure errors of so many pruned models along the rollouts."""
    if loaded.device.type != "cpu":
        return None
    from racviz.generation.cost import errors_seconds
    from racviz.pruning.cost import Machine, Shapes

    tokens = sum(len(trace.prompt_ids) + len(trace.output_ids) for trace in rollouts)
    passes, length = models + 1, tokens / max(1, len(rollouts))
    return errors_seconds(Shapes.of(loaded.model), passes * tokens, length, Machine.measured())


def sweep_time(studies: Sequence[Any], timing_problems: int) -> float | None:
    """Expected seconds of a grid's cells, all of them made anew by one process.

    None where a study's time cannot be told: on a GPU, by a server, or where something is wrong.
    """
    import torch

    from racviz.interchange import is_traces
    from racviz.planning.checks import on_meta
    from racviz.planning.expected import SAMPLE, Expectation
    from racviz.pruning.cost import Machine
    from racviz.study.contents import Part

    if torch.cuda.is_available() or any(study.backend != "hf" for study in studies):
        return None
    by_problems: dict[tuple, list[Any]] = {}
    for study in studies:
        own = study.test_problems, study.calibration_problems, study.domain, study.dtype
        by_problems.setdefault((study.model, *own), []).append(study)
    total = 0.0
    try:
        for group in by_problems.values():
            expectation = Expectation(on_meta(group[0]), Machine.measured(), "cpu", None)
            parts = [Part(study, answers=True) for study in group]
            test, train = group[0].test(), group[0].calibration_pool(SAMPLE)
            imported = is_traces(group[0].trace_source)
            steps = expectation.steps(parts, test, train, timing_problems, imported)
            total += sum(step.seconds or 0.0 for step in steps)
    except RacvizError:  # which the sweep itself reports, with the cell
        return None
    return total
