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
    "models": ("LoadedModel", "load_model"),
    "problems": ("Problem", "ProblemSet", "load_problems"),
    "problems.texts": ("load_texts",),
    "generation": ("Sampling",),
    "traces": ("Trace", "Traces", "generate_traces"),
    "interchange": ("export_traces", "import_traces", "to_dataset"),
    "calibration": ("CalibrationSet", "calibration_set"),
    "pruning": ("SecondMoments", "prune", "second_moments"),
    "reconstruction": ("ReconstructionErrors", "reconstruction_errors"),
    "layerwise": ("layerwise_errors",),
    "evaluation": ("Evaluation", "evaluate", "time_generation"),
    "study": ("Study",),
    "study.sweep": ("run_sweep",),
    "results": ("read_results",),
    "paper": ("published",),
    "reports.running": ("plan_report", "run_report"),
    "explorer": ("Explorer", "explore"),
    "play": ("playground",),
    "exceptions": ("RacvizError",),
}
"""The names of the facade by the module in which they live."""
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("figures", "lessons", "prompting", "reports", "statistics", "store")

__all__ = sorted([*_MODULE_OF, *_MODULES, "__version__"])


def __getattr__(name: str):
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"racviz.{_MODULE_OF[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"racviz.{name}")
    raise AttributeError(f"racviz has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
