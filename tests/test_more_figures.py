"""The figures of tables, budgets, seeds and thoughts: what they draw, against counts of their own."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import racviz as rv
from racviz import figures
from racviz.exceptions import DataError, ParameterError

SOURCES = ("dense", "prompt", "rac")


def answers(seed=0, model="tiny", sparsities=(0.5, 0.6), problems=20):
    draw, rows = np.random.default_rng(seed), []
    for source in SOURCES:
        for sparsity in (0.0,) if source == "dense" else sparsities:
            for k in range(problems):
                length, cut = int(draw.integers(20, 200)), draw.random() < 0.2
                rows.append(dict(
                    model=model, domain="arithmetic", method="dense" if source == "dense" else "sparsegpt", mode="one-pass", seed=seed,
                    source=source, sparsity=sparsity, problem_id=f"p{k}", sample=0, correct=bool(draw.random() < 0.7) and not cut,
                    think_tokens=200 if cut else length, output_tokens=200 if cut else length + 4, budget=200, calibration_tokens=1000,
                    finish_reason="length" if cut else "stop",
                ))  # fmt: skip
    return pd.DataFrame(rows)


def lines(figure, name=None):
    return [
        trace for trace in figure.data if isinstance(trace, go.Scatter) and (name is None or trace.name == name) and trace.mode
    ]


def texts(figure):
    return " ".join(str(each.text) for each in figure.layout.annotations)


def test_measured_and_published_stand_side_by_side():
    frame = answers()
    figure = figures.sparsity_curves(frame, rv.published("math"))
    measured, *published = [trace for trace in lines(figure, "RAC") if trace.y is not None and max(trace.y) <= 100][:2]
    means = frame[frame["source"] == "rac"].groupby("sparsity")["correct"].mean() * 100
    assert list(measured.y) == pytest.approx(list(means)) and list(measured.x) == [50, 60] and measured.line.dash == "solid"
    assert (
        measured.error_y.array is not None and published[0].line.dash == "dash" and published[0].marker.symbol == "circle-open"
    )
    assert list(published[0].x) == [20, 30, 40, 50] and list(published[0].y) == pytest.approx([83.2, 82.2, 77.4, 66.4])
    assert list(published[0].error_y.array) == pytest.approx([1.7, 1.7, 1.9, 2.1])
    assert "R1-Distill-Qwen-7B,<br>published" in texts(figure) and "as the paper prints it" in texts(figure)
    assert sum(bool(trace.showlegend) for trace in figure.data) == 3, "a legend entry a source"
    alone = figures.sparsity_curves(frame)
    assert "published" not in texts(alone) and "as the paper" not in texts(alone)
    assert "no row" in texts(figures.sparsity_curves(frame[:0]))


def test_budgets_rise_to_the_whole():
    frame = answers()
    figure = figures.budget_curves(rv.statistics.within_budgets(frame, [50, 100, 200]))
    rac = next(trace for trace in lines(figure, "RAC") if list(trace.x) == [50, 100, 200])
    part = frame[(frame["source"] == "rac") & (frame["sparsity"] == 0.5)]
    expected = [100 * (part["correct"] & (part["output_tokens"] <= budget)).mean() for budget in (50, 100, 200)]
    assert list(rac.y) == pytest.approx(expected) and expected == sorted(expected)


def test_calibration_curves_show_accuracy_and_error():
    rows = []
    for tokens in (1000, 4000):
        for source, accuracy, error in (("dense", 0.9, np.nan), ("rac", 0.4 + tokens / 1e4, 1 / tokens), ("prompt", 0.1, 0.5)):
            row = dict(
                source=source, sparsity=0.0 if source == "dense" else 0.5, accuracy=accuracy, se=0.02, decode_error=error
            )
            rows.append(row | dict(calibration_tokens=tokens, problems=100, variant=str(tokens)))
    figure = figures.calibration_curves(pd.DataFrame(rows), "calibration_tokens", "title", "tokens")
    first, second = lines(figure, "RAC")
    assert (
        list(first.y) == pytest.approx([50, 80])
        and list(second.y) == pytest.approx([1e-3, 2.5e-4])
        and list(first.x) == [1000, 4000]
    )
    assert figure.layout.xaxis.type == "log" and any(shape.y0 == pytest.approx(90) for shape in figure.layout.shapes)
    with pytest.raises(DataError, match="there is no 'decode_error'|there is no decode_error"):
        figures.calibration_curves(pd.DataFrame(rows).drop(columns="decode_error"), "calibration_tokens", "t", "a")


def test_each_seed_has_its_mark():
    frame = pd.concat([answers(seed) for seed in range(3)])
    figure = figures.seed_dots(frame)
    dots = [trace for trace in figure.data if trace.customdata is not None and trace.x[0] == "RAC"]
    assert [len(trace.y) for trace in dots] == [3, 3] and list(dots[0].customdata) == [0, 1, 2]
    means = frame[(frame["source"] == "rac") & (frame["sparsity"] == 0.5)].groupby("seed")["correct"].mean() * 100
    assert list(dots[0].y) == pytest.approx(list(means))
    stroke = next(trace for trace in figure.data if trace.marker.symbol == "line-ew" and trace.x[0] == "RAC")
    assert stroke.y[0] == pytest.approx(means.mean())


def test_right_and_wrong_thoughts_apart():
    frame = answers()
    figure = figures.thinking_curves(frame)
    right = next(trace for trace in figure.data if trace.name == "RAC, right")
    part = frame[(frame["source"] == "rac") & (frame["sparsity"] == 0.5) & frame["correct"]]
    assert right.line.dash == "solid" and right.y[0] == 100 and right.y[-1] == 0
    at = np.searchsorted(right.x, 100)
    assert right.y[at] == pytest.approx(100 * (part["think_tokens"] > right.x[at]).mean())
    wrong = next(trace for trace in figure.data if trace.name == "RAC, wrong")
    assert wrong.line.dash == "dot"


def test_variants_and_policies_as_bars():
    results = pd.DataFrame([
        dict(source="dense", sparsity=0.0, variant="own", accuracy=0.9, se=0.01, decode_error=np.nan, problems=50),
        dict(source="rac", sparsity=0.5, variant="own", accuracy=0.8, se=0.02, decode_error=0.1, problems=50),
        dict(source="rac", sparsity=0.5, variant="<b>other</b>", accuracy=0.3, se=0.03, decode_error=0.7, problems=50),
    ])  # fmt: skip
    apart = pd.DataFrame({"variant": ["own", "<b>other</b>"], "nats a token": [0.01, 7.5]})
    figure = figures.policy_bars(results, apart)
    accuracy, error = [trace for trace in figure.data if isinstance(trace, go.Bar)]
    assert list(accuracy.y) == [80, 30] and list(error.y) == [0.1, 0.7] and list(accuracy.error_y.array) == [2, 3]
    assert accuracy.x[1] == "&lt;b&gt;other&lt;/b&gt;<br>7.50 nats a token"
    bars = [trace for trace in figures.variant_bars(results, "thirds, of something").data if isinstance(trace, go.Bar)]
    assert list(bars[0].y) == [80, 30] and bars[0].x[1] == "&lt;b&gt;other&lt;/b&gt;"
    assert "no pruned model" in texts(figures.variant_bars(results[:1], "thirds"))


def test_aligned_thoughts_are_grey_until_they_part_and_escaped():
    dense = ["<script>", "a", "b", "c\n"]
    figure = figures.aligned_thoughts({"dense": dense, "rac": ["<script>", "a", "X", "\x1b[31m"]}, {"dense": True}, "title")
    shown = texts(figure)
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "\x1b" not in shown and "\n" not in shown
    assert "parts after 2 tokens" in shown and '<span style="color:#8a8a8a">a</span>' in shown and "<b>RAC</b>, wrong" in shown
    assert '<span style="color:#8a8a8a">X</span>' not in shown and "<b>dense</b>, right, 4 tokens" in shown
    same = figures.aligned_thoughts({"dense": dense, "rac": dense}, {}, "t")
    assert "the same to the end" in texts(same) and "parts after" not in texts(same)
    assert texts(figures.aligned_thoughts({"dense": [], "rac": []}, {}, "t"))


def errors_of(layer, factor, problems=12, tokens=30, method="sparsegpt"):
    """Errors with a ratio of `factor` on decode tokens and of 1 / factor on the prompt."""
    draw, rows = np.random.default_rng(0), []
    for k in range(problems):
        for t in range(tokens):
            phase, base = ("prompt" if t < 10 else "decode"), draw.uniform(1, 2)
            ratio = factor if phase == "decode" else 1 / factor
            rows.append((f"p{k}", t, 5, phase, 10.0, base * ratio, base))
    frame = pd.DataFrame(rows, columns=["problem_id", "position", "token_id", "phase", "norm_dense", "e_prompt", "e_rac"])
    frame.attrs["label"] = {"model": "tiny", "sparsity": 0.5, "layer": layer, "method": method}
    return frame


def test_medians_stand_in_order_with_their_intervals():
    figure = figures.ratio_medians(
        {0: errors_of(0, 1.5), 3: errors_of(3, 2.0), "final": errors_of("final", 4.0)}, "prompt", "rac"
    )
    prompt, decode = (next(trace for trace in figure.data if trace.name == f"{phase} tokens") for phase in ("prompt", "decode"))
    assert list(decode.y) == pytest.approx([1.5, 2, 4]) and list(prompt.y) == pytest.approx([1 / 1.5, 1 / 2, 1 / 4])
    assert list(figure.layout.xaxis.ticktext) == ["block 0", "block 3", "final"] and figure.layout.yaxis.type == "log"
    assert "by depth" in figure.layout.title.text and decode.mode == "lines+markers"
    solvers = figures.ratio_medians(
        {"<b>": errors_of("final", 2.0), "alps": errors_of("final", 3.0)}, "prompt", "rac", "solver", line=False
    )
    assert list(solvers.layout.xaxis.ticktext) == ["&lt;b&gt;", "alps"] and solvers.data[0].mode == "markers"
    with pytest.raises(ParameterError, match="errors must hold at least one"):
        figures.ratio_medians({}, "prompt", "rac")
    none = errors_of("final", 2.0)
    assert "no token" in texts(figures.ratio_medians({"final": none.assign(e_rac=0.0)}, "prompt", "rac"))


def test_sources_stand_from_the_lowest_to_the_highest():
    frame = answers(sparsities=(0.5,))
    frame = pd.concat([frame, frame[frame["source"] == "rac"].assign(source="random <b>", correct=False)])
    bars = next(trace for trace in figures.source_bars(frame).data if isinstance(trace, go.Bar))
    assert list(bars.x) == sorted(bars.x) and bars.y[0] == "random &lt;b&gt;" and bars.x[0] == 0
    means = 100 * frame.groupby("source")["correct"].mean()
    assert dict(zip(bars.y, bars.x, strict=True)) == pytest.approx(
        {"random &lt;b&gt;": 0, "RAC": means["rac"], "prompt-only": means["prompt"]}
    )
    assert "no pruned model" in texts(figures.source_bars(frame[frame["source"] == "dense"]))
