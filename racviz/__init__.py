"""racviz: see what compression does to a reasoning model, token by token.

    problems ─► traces ─► calibration ─► pruning ─► reconstruction ─┐
                   │                        └────► evaluation ──────┴─► figures ─► notebooks ─► reports

    import racviz as rv

    dense    = rv.load_model("tiny-reasoner")
    train    = rv.load_problems("arithmetic", split="calibration", limit=300)
    test     = rv.load_problems("arithmetic", split="test", limit=32)
    own      = rv.generate_traces(dense, train, rv.Sampling(max_new_tokens=1024))
    rollouts = rv.generate_traces(dense, test, rv.Sampling(max_new_tokens=1024, temperature=0.0))
    rac      = rv.calibration_set("rac", dense, traces=own, tokens=32_768)
    prompt   = rv.calibration_set("prompt", dense, problems=rv.load_problems("arithmetic", split="calibration"), tokens=32_768)
    pruned   = {c.source: rv.prune(dense, c, sparsity=0.5) for c in (prompt, rac)}
    errors   = rv.reconstruction_errors(dense, pruned, rollouts)
    rv.figures.error_heatmap(errors, "prompt", "rac")

`Study` runs the same steps for a whole comparison, each step cached by content; the notebooks and the command line are
made of it. Everything is imported when first used: `import racviz` loads neither torch nor transformers nor plotly.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "load_model": "models", "LoadedModel": "models", "load_problems": "problems", "Problem": "problems", "ProblemSet": "problems",
    "Sampling": "generation", "generate_traces": "traces", "Traces": "traces", "Trace": "traces",
    "calibration_set": "calibration", "CalibrationSet": "calibration", "prune": "pruning", "second_moments": "pruning",
    "SecondMoments": "pruning", "reconstruction_errors": "reconstruction", "ReconstructionErrors": "reconstruction",
    "layerwise_errors": "reconstruction", "evaluate": "evaluation", "Evaluation": "evaluation", "time_generation": "evaluation",
    "import_traces": "interchange", "export_traces": "interchange", "to_dataset": "interchange", "load_texts": "texts",
    "run_sweep": "sweep", "read_results": "results", "published": "paper",
    "explore": "explorer", "Explorer": "explorer", "playground": "play",
    "Study": "study", "run_report": "reports", "plan_report": "reports", "RacvizError": "errors",
}  # fmt: skip
_ROOMS = ("figures", "lessons", "prompting", "statistics", "reports", "store")

__all__ = [
    "CalibrationSet", "Evaluation", "Explorer", "LoadedModel", "Problem", "ProblemSet", "RacvizError", "ReconstructionErrors", "Sampling",
    "SecondMoments", "Study", "Trace", "Traces", "__version__", "calibration_set", "evaluate", "explore", "export_traces",
    "figures", "generate_traces", "import_traces", "layerwise_errors", "lessons", "load_model", "load_problems", "load_texts",
    "plan_report", "playground",
    "prompting", "prune", "published", "read_results", "reconstruction_errors", "reports", "run_report", "run_sweep", "second_moments",
    "statistics", "store", "time_generation", "to_dataset",
]  # fmt: skip


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"racviz.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"racviz.{name}")
    raise AttributeError(f"racviz has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
