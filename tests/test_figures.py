"""Figures: what they draw, against independent expressions; and that model-made text is harmless in them."""

import json
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from scipy import stats

from racviz import figures
from racviz.exceptions import DataError, ParameterError
from racviz.figures.heatmap import colour_limit, times, visible
from racviz.figures.theme import GREY, RATIO_SCALE, SOURCES, caption, source_colour
from racviz.figures.tokens import ratio_colour

HOSTILE = [
    "<script>alert(1)</script>",
    "</div>",
    "&amp;",
    "\x1b[31mred",
    "\u202eright to left",
    "%{customdata}",
    "a\nb",
    "\t",
    "\"'",
]


def make_errors(problems: int = 8, seed: int = 0, longest: int = 60) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    parts = []
    for problem in range(problems):
        t_in, length = int(draw.integers(4, 12)), int(draw.integers(30, longest))
        rac, up = draw.lognormal(0, 0.3, length), np.where(np.arange(length) < t_in, 0.7, 2.0)
        parts.append(
            pd.DataFrame({
                "problem_id": f"p{problem:02d}",
                "position": np.arange(length),
                "token_id": 0,
                "token": draw.choice(HOSTILE, length),
                "phase": np.where(np.arange(length) < t_in, "prompt", "decode"),
                "norm_dense": 10.0,
                "e_prompt": rac * up * draw.lognormal(0, 0.1, length),
                "e_rac": rac,
            })
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def make_evaluations(budget: int = 500) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    rows = []
    for source, sparsity, stretch in [
        ("dense", 0.0, 1),
        ("prompt", 0.5, 1.5),
        ("rac", 0.5, 1),
        ("prompt", 0.7, 4),
        ("rac", 0.7, 1.1),
    ]:
        for problem in range(30):
            for sample in range(2):
                wanted = draw.lognormal(5, 0.4) * stretch
                end = "length" if wanted > budget else "stop"
                tokens = int(min(wanted, budget))
                rows.append((source, "sparsegpt", sparsity, f"p{problem}", sample, end == "stop", tokens, tokens, end, budget))
    names = [
        "source",
        "method",
        "sparsity",
        "problem_id",
        "sample",
        "correct",
        "think_tokens",
        "output_tokens",
        "finish_reason",
        "budget",
    ]
    return pd.DataFrame(rows, columns=names)


def make_results(minutes: bool = True) -> pd.DataFrame:
    cells = make_evaluations().groupby(["source", "sparsity"], as_index=False)
    frame = cells.agg(accuracy=("correct", "mean"), tokens=("output_tokens", "sum"), problems=("problem_id", "nunique"))
    return frame.assign(
        samples=2, se=0.05, minutes=frame["tokens"] / 1e4 if minutes else np.nan, timed_problems=16, method="sparsegpt"
    )


def trace_of(figure: go.Figure, kind: type, name: str | None = None):
    return next(trace for trace in figure.data if isinstance(trace, kind) and name in (None, trace.name))


def texts(figure: go.Figure) -> str:
    return (
        " ".join(annotation.text or "" for annotation in figure.layout.annotations).replace("\u00a0", " ").replace("<br>", " ")
    )


def symbol(trace) -> str | None:
    return trace.marker.symbol if isinstance(trace, go.Scatter) else None


class TestHeatmap:
    def test_cells_are_log2_ratios_in_their_place(self):
        frame = make_errors()
        figure = figures.error_heatmap(frame, "prompt", "rac", sort="given")
        cells = trace_of(figure, go.Heatmap)
        assert (cells.x0, cells.dx, cells.y0, cells.dy, cells.zmid) == (0, 1, 0, 1, 0) and cells.z.dtype == np.float32
        assert cells.zmin == -cells.zmax and not cells.zsmooth and cells.xgap is None
        for row, (_, one) in enumerate(frame.groupby("problem_id", sort=False)):
            np.testing.assert_allclose(cells.z[row, : len(one)], np.log2(one.e_prompt / one.e_rac), rtol=1e-5)
            assert np.isnan(cells.z[row, len(one) :]).all()

    @pytest.mark.parametrize("align", ["start", "boundary"])
    def test_boundary_lies_before_the_first_decode_token(self, align):
        frame = make_errors()
        figure = figures.error_heatmap(frame, "prompt", "rac", sort="given", align=align)
        line = trace_of(figure, go.Scatter)
        t_in = (frame.phase == "prompt").groupby(frame.problem_id).sum().to_numpy()
        np.testing.assert_array_equal(line.x[::2], (t_in if align == "start" else 0 * t_in) - 0.5)
        np.testing.assert_array_equal(line.y, np.repeat(np.arange(9), 2)[1:-1] - 0.5)
        hover = trace_of(figure, go.Heatmap).hovertext
        column = int(line.x[0] + 0.5) - int(trace_of(figure, go.Heatmap).x0)
        assert hover[0][column] == f"p00, position {t_in[0]}, decode" and hover[0][column - 1].endswith("prompt")

    def test_rows_are_sorted(self):
        frame = make_errors()
        t_in = (frame.phase == "prompt").groupby(frame.problem_id).sum()
        line = trace_of(figures.error_heatmap(frame, "prompt", "rac"), go.Scatter)
        np.testing.assert_array_equal(line.x[::2] + 0.5, np.sort(t_in))

    def test_scale_is_red_grey_blue_and_says_what_it_clips(self):
        cells = trace_of(figures.error_heatmap(make_errors(), "prompt", "rac", clip=0.9), go.Heatmap)
        assert cells.colorscale[len(RATIO_SCALE) // 2] == (0.5, GREY)
        low, high = cells.colorscale[0][1], cells.colorscale[-1][1]
        assert low[1:3] > low[5:] and high[1:3] < high[5:]  # more red than blue below, the reverse above
        assert set(cells.colorbar.ticktext) == {"½×", "1×", "2×"} and "clipped" in cells.colorbar.title.text
        assert (
            "clipped"
            not in trace_of(figures.error_heatmap(make_errors(), "prompt", "rac", clip=None), go.Heatmap).colorbar.title.text
        )
        cells = trace_of(figures.error_heatmap(make_errors(), "prompt", "rac", scale="ratio"), go.Heatmap)
        assert cells.zmid == 1 and cells.zmax - 1 == pytest.approx(1 - cells.zmin)

    def test_bins_show_the_ratio_of_sums_and_say_so(self):
        frame = make_errors()
        figure = figures.error_heatmap(frame, "prompt", "rac", sort="given", max_columns=10)
        cells = trace_of(figure, go.Heatmap)
        width = int(cells.dx)
        assert cells.z.shape[1] <= 10 and width > 1
        one = frame[frame.problem_id == "p00"].iloc[width : 2 * width]
        assert 2.0 ** cells.z[0, 1] == pytest.approx(one.e_prompt.sum() / one.e_rac.sum(), rel=1e-5)
        assert cells.x0 == (width - 1) / 2
        assert f"positions {width} to {2 * width - 1} (ratio of sums)" in cells.hovertext[0][1]
        assert f"spans {width} positions" in texts(figure) and "ratio of their summed errors" in texts(figure)
        np.testing.assert_allclose(
            cells.customdata[0, 1], [one.e_prompt.sum(), one.e_rac.sum(), 2.0 ** cells.z[0, 1]], rtol=1e-5
        )

    @pytest.mark.parametrize("most", [1, 2, 3, 7, 10, 29, 30, 58])
    def test_bins_aligned_at_the_boundary_do_not_mix_phases(self, most):
        cells = trace_of(
            figures.error_heatmap(make_errors(), "prompt", "rac", align="boundary", max_columns=max(2, most)), go.Heatmap
        )
        assert cells.z.shape[1] <= max(2, most)
        assert not any("prompt and decode" in text for text in np.ravel(cells.hovertext))

    def test_missing_is_not_one(self):
        frame = make_errors()
        frame.loc[3, "e_rac"], frame.loc[4, "e_prompt"], frame.loc[5, "e_prompt"] = 0.0, np.nan, 0.0
        cells = trace_of(figures.error_heatmap(frame, "prompt", "rac", sort="given"), go.Heatmap)
        assert np.isnan(cells.z[0, 3:5]).all() and cells.z[0, 5] < cells.zmin  # 0 is below everything, not missing
        assert (
            not cells.hoverongaps
            and figures.error_heatmap(frame, "prompt", "rac").layout.template.layout.plot_bgcolor == "white"
        )

    @pytest.mark.parametrize(
        "frame", [make_errors().iloc[:0], make_errors().assign(e_rac=np.nan), make_errors().assign(e_rac=0.0)]
    )
    def test_nothing_to_draw_is_said(self, frame):
        for figure in (figures.error_heatmap(frame, "prompt", "rac"), figures.figure2(frame)):
            assert not figure.data and "no token at which both errors are known" in texts(figure)
        assert "No position is reached" in texts(figures.ratio_by_position(frame, "prompt", "rac"))

    def test_one_row_and_one_token(self):
        assert trace_of(figures.error_heatmap(make_errors(1), "prompt", "rac"), go.Heatmap).z.shape[0] == 1
        assert trace_of(figures.error_heatmap(make_errors(1).iloc[:1], "prompt", "rac"), go.Heatmap).z.shape == (1, 1)
        assert "no position is reached by 5 problems" in texts(figures.figure2(make_errors(1)))

    def test_bad_parameters_name_what_is_allowed(self):
        for wrong in ({"scale": "log"}, {"align": "left"}, {"sort": "length_"}):
            with pytest.raises(ValueError, match="must be one of"):
                figures.error_heatmap(make_errors(), "prompt", "rac", **wrong)
        with pytest.raises(ValueError, match="numerator must be one of 'prompt', 'rac'; not 'c4'"):
            figures.error_heatmap(make_errors(), "c4", "rac")
        for wrong in ({"max_columns": 0}, {"clip": 98}):
            with pytest.raises(ValueError, match="must be"):
                figures.error_heatmap(make_errors(), "prompt", "rac", **wrong)

    def test_many_tokens_stay_small(self):
        figure = figures.error_heatmap(make_errors(100, longest=4000), "prompt", "rac")
        assert trace_of(figure, go.Heatmap).z.shape[1] <= 1500 and len(figure.to_json()) < 30e6


class TestHostileText:
    def test_hover_shows_it_escaped_and_quoted(self):
        assert visible("</div>&amp;") == "&#x27;&lt;/div&gt;&amp;amp;&#x27;"
        assert visible("\x1b[31m\u202e\n") == "&#x27;\\x1b[31m\\u202e\\n&#x27;"
        assert len(visible("x" * 1000)) < 100

    def test_none_of_it_reaches_the_page_alive(self):
        page = figures.figure2(make_errors()).to_html(include_plotlyjs=False)
        for wrong in ("<script>alert", "</div>'", "\x1b", "\u202e"):
            assert wrong not in page

    def test_problem_ids_and_source_names_too(self):
        frame = make_errors(3).rename(columns={"e_prompt": "e_<b>", "e_rac": "e_&"})
        frame["problem_id"] = "<img src=x onerror=alert(1)>" + frame["problem_id"]
        written = json.dumps(
            figures.figure2(frame, "<b>", "&").to_plotly_json(), default=lambda value: np.asarray(value).tolist()
        )
        assert "<img" not in written and "e(<b>)" not in written

    def test_strip_holds_every_token_as_text(self):
        frame = make_errors()
        shown = figures.token_strip(frame, "p01")
        assert shown._repr_html_() == str(shown)

        class Reader(HTMLParser):
            tags, text = set(), ""

            def handle_starttag(self, tag, attrs):
                self.tags.add(tag)

            def handle_data(self, data):
                self.text += data

        reader = Reader()
        reader.feed(shown)
        assert reader.tags <= {"div", "b", "span", "bdi", "br", "wbr"}
        assert "<script>alert(1)</script>" in reader.text and "&amp;" in reader.text
        assert "\x1b" not in shown and "\u202e" not in shown and shown.count("<bdi") == (frame.problem_id == "p01").sum()
        assert shown.count("end of prompt (T_in)") == 1

    def test_strip_without_tokens_or_problem(self):
        assert "no token texts" in figures.token_strip(make_errors().drop(columns="token"), "p01")
        with pytest.raises(ValueError, match="problem_id must be one of .*'p01'.* Did you mean"):
            figures.token_strip(make_errors(), "p1")


class TestCurve:
    @pytest.mark.parametrize("align", ["start", "boundary"])
    def test_is_the_geometric_mean_with_its_t_interval(self, align):
        frame = make_errors(12)
        figure = figures.ratio_by_position(frame, "prompt", "rac", align=align)
        curve = trace_of(figure, go.Scatter, "geometric mean")
        t_in = frame.problem_id.map((frame.phase == "prompt").groupby(frame.problem_id).sum())
        at = frame.assign(x=frame.position - (t_in if align == "boundary" else 0)).query("x == 10")
        logs = np.log(at.e_prompt / at.e_rac)
        low, high = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs))
        place = int(np.flatnonzero(curve.x == 10)[0])
        assert curve.y[place] == pytest.approx(np.exp(logs.mean()))
        np.testing.assert_allclose(curve.customdata[place][:3], [np.exp(low), np.exp(high), len(logs)])

    def test_ends_where_too_few_problems_remain(self):
        frame = make_errors(8)
        curve = trace_of(figures.ratio_by_position(frame, "prompt", "rac", align="start"), go.Scatter, "geometric mean")
        n = frame.groupby("position").size().to_numpy()
        np.testing.assert_array_equal(np.isfinite(curve.y), n >= 5)
        with pytest.raises(ValueError, match="fewest"):
            figures.ratio_by_position(frame, "prompt", "rac", fewest=1)

    def test_figure2_shares_the_axis(self):
        figure = figures.figure2(make_errors(12))
        assert figure.layout.xaxis.matches == "x2" or figure.layout.xaxis2.matches == "x"
        assert figure.layout.xaxis.range == figure.layout.xaxis2.range
        assert trace_of(figure, go.Heatmap).yaxis == "y" and trace_of(figure, go.Scatter, "geometric mean").yaxis == "y2"


class TestLayers:
    def frame(self):
        rows = [
            (f"layers.{depth}.{name}", depth, phase, source, 0.01 * (depth + 1))
            for depth in range(3)
            for name in ("q", "up")
            for phase in ("prompt", "decode")
            for source in ("prompt", "rac")
        ]
        return pd.DataFrame(rows, columns=["layer", "depth", "phase", "source", "error"])

    def test_lines_are_geometric_means(self):
        frame = self.frame()
        frame.loc[(frame.layer == "layers.0.q") & (frame.source == "rac"), "error"] = 0.04
        line = next(trace for trace in figures.layer_errors(frame).data if trace.name == "RAC")
        np.testing.assert_allclose(line.y, [0.02, 0.02, 0.03])

    def test_missing(self):
        assert "no layer" in texts(figures.layer_errors(self.frame().iloc[:0]))
        assert len(figures.layer_errors(self.frame().query("phase == 'decode'")).data) == 4
        with pytest.raises(ValueError, match="there is no error"):
            figures.layer_errors(self.frame().drop(columns="error"))


class TestRuntime:
    def test_lines_bars_and_dense_level(self):
        results = make_results()
        figure = figures.runtime_curves(results)
        rac = [trace for trace in figure.data if trace.name == "RAC"]
        np.testing.assert_allclose(rac[0].y, 100 * results[results.source == "rac"].accuracy)
        np.testing.assert_allclose(rac[0].error_y.array, 5.0)
        np.testing.assert_allclose(rac[1].y, results[results.source == "rac"].tokens / 60)
        dense = [trace for trace in figure.data if trace.name == "dense"]
        assert len(dense) == 3 and dense[1].y[0] == dense[1].y[1] == results[results.source == "dense"].tokens.item() / 60
        assert rac[0].line.color == SOURCES["rac"] and "16 problems" in texts(figure) and "n = 30 problems" in texts(figure)

    def test_without_a_timing_pass(self):
        for results in (make_results(minutes=False), make_results().drop(columns="minutes")):
            figure = figures.runtime_curves(results)
            assert "no timing pass" in texts(figure) and len([trace for trace in figure.data if trace.name == "RAC"]) == 2

    def test_seeds_are_averaged(self):
        twice = pd.concat([make_results().assign(seed=0), make_results().assign(seed=1, accuracy=0.0)])
        rac = trace_of(figures.runtime_curves(twice), go.Scatter, "RAC")
        np.testing.assert_allclose(rac.y, 50 * make_results().query("source == 'rac'").accuracy)

    def test_missing(self):
        assert "no row" in texts(figures.runtime_curves(make_results().iloc[:0]))
        assert trace_of(figures.runtime_curves(make_results().query("source == 'dense'")), go.Scatter, "dense").y[0] > 0
        with pytest.raises(ValueError, match="there is no tokens"):
            figures.runtime_curves(make_results().drop(columns="tokens"))


class TestLengths:
    def test_curves_end_at_the_share_that_ended(self):
        frame = make_evaluations()
        figure = figures.cot_lengths(frame)
        cell = frame.query("source == 'prompt' and sparsity == 0.7")
        ended = cell.finish_reason == "stop"
        curve = [trace for trace in figure.data if trace.name == "prompt-only"][1]
        assert curve.y[-1] == pytest.approx(100 * ended.mean()) and curve.x[-1] == 500
        np.testing.assert_array_equal(curve.x[1:-1], np.sort(cell.think_tokens[ended]))
        open_marks = [trace for trace in figure.data if symbol(trace) == "triangle-up-open"]
        assert open_marks[-1].y[0] == pytest.approx(100 * ended.mean()) and "cut off" in open_marks[-1].hovertemplate
        bars = [trace for trace in figure.data if isinstance(trace, go.Bar)][1]
        assert (
            bars.text[bars.y.index("prompt-only")] == f"{100 * (1 - ended.mean()):.1f} %" and bars.marker.pattern.shape == "/"
        )

    def test_medians_are_marked_unless_the_budget_hides_them(self):
        frame = make_evaluations(10**6)
        marks = [trace for trace in figures.cot_lengths(frame).data if symbol(trace) == "circle"]
        values = np.sort(frame.query("source == 'rac' and sparsity == 0.5").think_tokens)
        assert marks[0].x[0] == values[len(values) // 2 - 1] and "no end within" in texts(figures.cot_lengths(frame))
        hidden = make_evaluations(100)
        assert not [trace for trace in figures.cot_lengths(hidden).data if symbol(trace) == "triangle-up"]

    def test_dense_alone_log_scale_and_errors(self):
        frame = make_evaluations()
        assert figures.cot_lengths(frame.query("source == 'dense'")).data
        assert figures.cot_lengths(frame, scale="log").layout.xaxis.type == "log"
        assert "no row" in texts(figures.cot_lengths(frame.iloc[:0]))
        with pytest.raises(ValueError, match="scale must be one of 'linear', 'log'; not 'lin'"):
            figures.cot_lengths(frame, scale="lin")


class TestTheme:
    def test_sources_keep_their_colours(self):
        assert len(set(SOURCES.values())) == len(SOURCES) and source_colour("mine") == source_colour("mine") != source_colour(
            "rac"
        )

    def test_caption_names_what_it_was_made_from(self):
        label = {"model": "tiny", "domain": "arithmetic", "method": "sparsegpt", "sparsity": 0.5, "mode": "one-pass", "seed": 0}
        made = caption(label | {"calibration_tokens": {"rac": 2048, "prompt": 2048}, "metric": "hidden", "layer": "final"}, 7)
        assert made.replace("\u00a0", " ") == (
            "tiny · arithmetic · sparsegpt · 50 % sparsity · one-pass · last hidden state · "
            "2,048 calibration tokens each · seed 0 · n = 7 problems"
        )
        unequal = caption({"calibration_tokens": {"rac": 2048, "prompt": 1000}}, 1).replace("\u00a0", " ")
        assert unequal == "2,048 (rac) / 1,000 (prompt) calibration tokens · n = 1 problem"

    def test_ratio_colours(self):
        assert ratio_colour(1.0, 2.0) == "rgb(210, 210, 210)" and ratio_colour(np.nan, 2.0) == "rgb(255, 255, 255)"
        assert (
            ratio_colour(1e9, 2.0) == ratio_colour(4.0, 2.0) == "rgb(11, 47, 102)"
            and ratio_colour(0.0, 2.0) == "rgb(127, 10, 32)"
        )
        assert [times(value) for value in (0.25, 0.5, 1, 2, 0.1, 1.414)] == ["¼×", "½×", "1×", "2×", "1/10×", "1.4×"]
        assert colour_limit(np.array([np.nan]), 0.98) == 1.0

    def test_figures_need_no_torch(self):
        code = "import sys, racviz.figures, racviz.statistics; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestPruning:
    def compared(self) -> pd.DataFrame:
        rows = [dict(source="dense", method="dense", sparsity=0.0, accuracy=0.9, se=0.03, problems=50)]
        for source in ("prompt", "rac"):
            for method in ("sparsegpt", "alps"):
                for sparsity in (0.5, 0.8):
                    rows.append(dict(
                        source=source, method=method, sparsity=sparsity, accuracy=0.8 - sparsity / 2, se=0.05, problems=50,
                        decode_error=sparsity, decode_low=sparsity * 0.8, decode_high=sparsity * 1.5, solver_seconds=3.0,
                    ))  # fmt: skip
        return pd.DataFrame(rows)

    def test_a_line_a_solver_and_a_row_a_source(self):
        figure = figures.solver_curves(self.compared())
        assert len(figure.data) == 2 * 3 * 2 and {trace.name for trace in figure.data} == {"sparsegpt", "alps"}
        assert figure.data[0].x.tolist() == [50, 80] and np.allclose(figure.data[0].y, [55, 40])
        error = next(trace for trace in figure.data if np.allclose(trace.y, [0.5, 0.8]))
        assert np.allclose(error.error_y.array, [0.25, 0.4]) and np.allclose(error.error_y.arrayminus, [0.1, 0.16])
        assert sum(trace.showlegend for trace in figure.data) == 2
        assert "no pruned model" in texts(figures.solver_curves(self.compared().iloc[:1]))
        with pytest.raises(DataError, match="decode_error"):
            figures.solver_curves(self.compared().drop(columns="decode_error"))

    def report(self) -> pd.DataFrame:
        names = [f"layers.{k}.mlp.{kind}" for k in range(3) for kind in ("up_proj", "down_proj")]
        return pd.DataFrame({"layer": names, "sparsity": 0.5, "calibration_error": 0.1, "damping": 0.01, "seconds": 1.0})

    def test_a_mark_a_linear(self):
        figure = figures.pruning_run({"rac": self.report(), "prompt": self.report().drop(columns="damping")})
        assert len(figure.data) == 8 and all(len(trace.x) == 6 for trace in figure.data)
        assert list(figure.layout.xaxis.ticktext) == ["0", "1", "2"] and list(figure.layout.xaxis.tickvals) == [0, 2, 4]
        assert figure.data[0].name == "prompt-only" and figure.data[0].y[0] == 50
        assert "no report" in texts(figures.pruning_run({}))
        with pytest.raises(DataError, match="no seconds"):
            figures.pruning_run({"rac": self.report().drop(columns="seconds")})

    def test_layer_errors_by_kind_of_linear(self):
        rows = [
            dict(layer=f"layers.{depth}.mlp.{kind}", depth=depth, phase="decode", source="rac", error=error)
            for depth in range(3) for kind, error in (("up_proj", 0.1), ("down_proj", 0.4))
        ]  # fmt: skip
        figure = figures.layer_errors(pd.DataFrame(rows), by="linear")
        assert list(figure.layout.xaxis.ticktext) == ["up_proj", "down_proj"]
        assert np.allclose(figure.data[1].y, [0.1, 0.4]) and figure.data[1].mode == "markers"
        with pytest.raises(ParameterError, match="by must be one of"):
            figures.layer_errors(pd.DataFrame(rows), by="deepth")
