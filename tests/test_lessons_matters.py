"""What the lessons measure, against plain numpy in float64 and against torch's own count of operations."""

import numpy as np
import pandas as pd
import pytest
import torch

import racviz as rv
from racviz.exceptions import DataError, NumericalError, ParameterError
from racviz.lessons import matters
from racviz.pruning.linear import relative_error
from racviz.traces import Trace, Traces

PROMPT, OUTPUT = (5, 6, 7, 8, 9), (10, 11, 12)


def traces_of(*rows) -> Traces:
    made = tuple(Trace(f"p{k}", 0, tuple(read), tuple(drawn), "stop") for k, (read, drawn) in enumerate(rows))
    return Traces(made, "random", "fingerprint", "tokenizer")


def calibration(loaded, prompts: int, decodes: int, seed: int = 0):
    """A set of one sequence, with as many tokens of each phase."""
    from racviz.calibration import CalibrationSet

    size = prompts + decodes
    ids = np.random.default_rng(seed).integers(20, 900, size).astype(np.int32)
    phases = (np.arange(size) >= prompts).astype(np.uint8)
    return CalibrationSet("rac", [ids], [phases], [np.ones(size, np.float32)])


@pytest.fixture(scope="module")
def moments(tiny):
    return rv.second_moments(tiny, calibration(tiny, 40, 120))


class TestLinear:
    def test_error_is_that_of_the_outputs(self):
        draw = np.random.default_rng(0)
        weight, new, x = draw.standard_normal((4, 6)), draw.standard_normal((4, 6)), draw.standard_normal((6, 50))
        expected = np.linalg.norm((weight - new) @ x) ** 2 / np.linalg.norm(weight @ x) ** 2
        assert matters.error_of(weight, new, x @ x.T) == pytest.approx(expected)
        in_torch = relative_error(*(torch.tensor(each) for each in (weight, new, x @ x.T)))
        assert matters.error_of(weight, new, x @ x.T) == pytest.approx(in_torch)
        assert matters.error_of(weight, new, np.zeros((6, 6))) == 0

    @pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
    def test_inputs_correlate_as_asked_for(self, correlation):
        x = matters.correlated_inputs(5, 60_000, correlation, seed=2)
        found = np.corrcoef(x)[~np.eye(5, dtype=bool)]
        assert x.shape == (5, 60_000) and np.abs(found - correlation).max() < 0.02
        assert np.sort(x.std(1)) == pytest.approx(np.geomspace(0.5, 2, 5), rel=0.02)
        assert (x == matters.correlated_inputs(5, 60_000, correlation, seed=2)).all()

    @pytest.mark.parametrize("change", [dict(correlation=1.0), dict(correlation=-0.1), dict(tokens=0), dict(spread=0.5)])
    def test_inputs_refuse(self, change):
        with pytest.raises(ParameterError, match="must be"):
            matters.correlated_inputs(**(dict(columns=3, tokens=9, correlation=0.5) | change))


class TestArithmetic:
    def test_linears_and_head_are_what_torch_counts(self, tiny):
        from torch.utils.flop_counter import FlopCounterMode

        ids = torch.tensor([PROMPT])
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            tiny.model(ids, use_cache=False)
        by_operation = counter.get_flop_counts()["Global"]
        products = sum(
            count for operation, count in by_operation.items() if operation in (torch.ops.aten.mm, torch.ops.aten.addmm)
        )
        cost = matters.token_cost(tiny)
        assert products == len(PROMPT) * (cost.linears + cost.head)

    def test_attention_is_what_torch_counts_for_one_token(self, tiny):
        """A token that attends to n tokens: q·k and the weighted sum of v, for every head and block."""
        config = tiny.model.config
        size = config.hidden_size // config.num_attention_heads
        one_head = 2 * size + 2 * size
        assert matters.token_cost(tiny).attention == config.num_hidden_layers * config.num_attention_heads * one_head

    def test_phases_add_up_token_by_token(self, tiny):
        cost, frame = matters.token_cost(tiny), matters.phase_costs(tiny, traces_of((PROMPT, OUTPUT), (PROMPT[:2], OUTPUT[:1])))
        expected = {"prompt": 0, "decode": 0}
        for place in range(len(PROMPT) + len(OUTPUT) - 1):  # of the first trace; the last token is not read
            phase = "prompt" if place < len(PROMPT) else "decode"
            expected[phase] += cost.linears + cost.attention * (place + 1)
            expected[phase] += cost.head if place >= len(PROMPT) - 1 else 0
        first = frame[frame["problem_id"] == "p0"].set_index("phase")
        assert first["flops"].to_dict() == expected
        assert first["tokens"].to_dict() == {"prompt": 5, "decode": 3} and first["passes"].to_dict() == {
            "prompt": 1,
            "decode": 2,
        }
        assert frame[frame["problem_id"] == "p1"].set_index("phase")["flops"]["decode"] == 0


class TestMoments:
    def test_only_one_phase(self, moments):
        for phase, tokens in (("prompt", 40), ("decode", 120)):
            part = matters.only(moments, phase)
            assert set(part.by_linear) == set(moments.by_linear)
            for name in part.by_linear:
                assert (
                    torch.equal(part.of(name).mixed(), getattr(moments.of(name), phase)) and sum(part.of(name).tokens) == tokens
                )
            assert part.of("layers.0.self_attn.q_proj") is part.of("layers.0.self_attn.k_proj")  # still shared

    def test_only_refuses(self, moments, tiny):
        with pytest.raises(ParameterError, match="phase must be one of"):
            matters.only(moments, "thought")
        with pytest.raises(DataError, match="no decode tokens"):
            matters.only(rv.second_moments(tiny, calibration(tiny, 30, 0)), "decode")

    def test_spectrum(self):
        x = np.random.default_rng(0).standard_normal((7, 30))
        squares = np.linalg.svd(x, compute_uv=False) ** 2
        assert matters.spectrum(x @ x.T) == pytest.approx(squares / squares.sum())
        assert matters.spectrum(torch.tensor(x @ x.T, dtype=torch.float32)) == pytest.approx(squares / squares.sum(), abs=1e-6)
        for wrong in (np.zeros((3, 3)), np.full((3, 3), 0.0)):
            with pytest.raises(NumericalError, match="no positive finite trace"):
                matters.spectrum(wrong)
        with pytest.raises(ParameterError, match="square"):
            matters.spectrum(np.ones((2, 3)))

    def test_angles(self, moments):
        parts = {phase: matters.only(moments, phase) for phase in ("prompt", "decode")}
        table = matters.angle_table({"all": moments} | parts)
        assert list(table) == list(table.index) == ["all", "prompt", "decode"]
        assert np.allclose(table, table.T) and (np.diag(table) == 0).all() and 0 < table.loc["prompt", "decode"] <= 90

    def test_leverage_is_the_mean_over_tokens(self):
        draw = np.random.default_rng(1)
        own, other = draw.standard_normal((6, 80)), draw.standard_normal((6, 30)) * np.r_[5, np.ones(5)][:, None]
        inverse = np.linalg.inv(own @ own.T / 80 + 0.01 * np.mean(own**2) * np.eye(6))
        by_token = [np.mean([x @ inverse @ x for x in each.T]) for each in (other, own)]
        found = matters.leverage(own @ own.T, 80, other @ other.T, 30)
        assert found == pytest.approx(by_token[0] / by_token[1]) and found > 2
        assert matters.leverage(own @ own.T, 80, own @ own.T, 80) == pytest.approx(1)
        assert matters.leverage(own @ own.T, 80, 3 * own @ own.T, 240) == pytest.approx(1)  # more of the same

    @pytest.mark.parametrize("arguments, error", [
        ((np.eye(3), 0, np.eye(3), 5), ParameterError), ((np.eye(3), 5, np.eye(4), 5), ParameterError),
        ((np.eye(3), 5, np.eye(3), 5, 0.0), ParameterError), ((np.zeros((3, 3)), 5, np.eye(3), 5), NumericalError),
        ((np.eye(3), 5, np.full((3, 3), np.inf), 5), NumericalError),
    ])  # fmt: skip
    def test_leverage_refuses(self, arguments, error):
        with pytest.raises(error):
            matters.leverage(*arguments)

    def test_leverage_table(self, moments, tiny):
        held_out = rv.second_moments(tiny, calibration(tiny, 20, 60, seed=5))
        prompts = matters.only(moments, "prompt")
        table = matters.leverage_table({"rac": moments, "prompt": prompts}, held_out)
        assert list(table) == ["layer", "depth", "phase", "source", "leverage"]
        assert len(table) == 4 * len(moments.by_linear) and set(table["depth"]) == {0, 1}
        name = "layers.1.mlp.down_proj"
        h, other = (each.of(name) for each in (moments, held_out))
        row = table[(table["layer"] == name) & (table["phase"] == "decode") & (table["source"] == "rac")]
        assert row["leverage"].item() == pytest.approx(matters.leverage(h.mixed(), 160, other.decode, 60))


class TestMasks:
    @pytest.fixture
    def pruned(self, tiny):
        """Two copies in which a block of a linear is zero; half of the first's is that of the second."""
        made = {}
        for name, rows in (("one", slice(0, 32)), ("two", slice(16, 48))):
            made[name] = tiny.copy()
            with torch.no_grad():
                made[name].model.model.layers[0].mlp.up_proj.weight[rows] = 0
        return made

    def test_overlap(self, pruned):
        table = matters.mask_overlap(pruned, ["layers.0.mlp.up_proj"])
        rows = len(matters.pruned_mask(pruned["one"], "layers.0.mlp.up_proj"))
        assert table.to_dict("records") == [
            {"layer": "layers.0.mlp.up_proj", "depth": 0, "pair": "one and two", "overlap": 0.5, "chance": 32 / rows}
        ]

    def test_pairs_are_named_as_elsewhere(self, pruned):
        named = {"prompt": pruned["one"], "rac": pruned["two"]}
        assert matters.mask_overlap(named, ["layers.0.mlp.up_proj"])["pair"].item() == "prompt-only and RAC"

    def test_crossed_is_least_squares(self, tiny, pruned, moments):
        """The mask of one, solved with the moments of another: row by row what numpy's normal equations give."""
        layer = "layers.0.mlp.up_proj"
        mixed = {"one": pruned["one"].copy()}
        weight = tiny.model.model.layers[0].mlp.up_proj.weight.detach().double().numpy()
        with torch.no_grad():
            mixed["one"].model.model.layers[0].mlp.up_proj.weight[:, ::2] = 0
        held_out = rv.second_moments(tiny, calibration(tiny, 20, 60, seed=5))
        table = matters.crossed_errors(tiny, mixed, {"rac": moments}, held_out, [layer])
        h = moments.of(layer).mixed().double().numpy()
        h = h + 0.01 * h.diagonal().mean() * np.eye(len(h))
        mask, new = matters.pruned_mask(mixed["one"], layer), np.zeros_like(weight)
        for row, keep in enumerate(~mask):
            if keep.any():
                new[row, keep] = np.linalg.solve(h[np.ix_(keep, keep)], h[keep] @ weight[row])
        for phase in ("prompt", "decode"):
            expected = matters.error_of(weight, new, getattr(held_out.of(layer), phase).double())
            assert table.set_index("phase")["error"][phase] == pytest.approx(expected, rel=0.02)
        assert table[["mask", "weights", "depth"]].iloc[0].tolist() == ["one", "rac", 0]

    def test_refuses(self, pruned):
        with pytest.raises(ParameterError, match="at least two models"):
            matters.mask_overlap({"one": pruned["one"]}, ["layers.0.mlp.up_proj"])
        with pytest.raises(DataError, match="has no zero in layers.1.mlp.up_proj"):
            matters.mask_overlap(pruned, ["layers.1.mlp.up_proj"])


class TestPictures:
    def test_strip_escapes_and_counts(self, tiny):
        encode = tiny.tokenizer
        output = encode("<think>\n2 < 3 & 4</think>\n<b>5</b>", add_special_tokens=False)["input_ids"]
        thought = output.index(encode("</think>", add_special_tokens=False)["input_ids"][0]) + 1
        trace = Trace("<i>", 0, tuple(tiny.render("<script>alert(1)</script>")), tuple(output), "stop")
        shown = matters.thought_strip(tiny, trace, "right & <b>well</b>")
        assert "<script" not in shown and "<i>" not in shown and "<b>well" not in shown
        assert f"thought: {thought} tokens" in shown and f"answer: {len(output) - thought} tokens" in shown
        assert f"prompt: {len(trace.prompt_ids)} tokens" in shown and "⏎<br>" in shown and shown._repr_html_() == shown

    def test_colours_of_sources_and_phases(self):
        from racviz.figures.theme import source_colour

        frame = pd.DataFrame({"x": [0, 1, 0, 1], "y": [1.0, 2, 3, 4], "source": ["prompt"] * 2 + ["rac"] * 2})
        frame["phase"] = ["prompt", "prompt", "decode", "decode"]
        named = dict(title="t", caption="c")
        for make in (matters.lines, matters.bars):
            by_source, by_phase = make(frame, "x", "y", "source", **named), make(frame, "x", "y", "phase", **named)
            colours = [[(trace.marker.color, trace.name) for trace in each.data] for each in (by_source, by_phase)]
            assert colours[0] == [(source_colour("prompt"), "prompt-only"), (source_colour("rac"), "RAC")]
            assert colours[1] == [(matters.PHASES["prompt"], "prompt tokens"), (matters.PHASES["decode"], "decode tokens")]
            assert [list(trace.y) for trace in by_source.data] == [[1, 2], [3, 4]]
        assert matters.lines(frame, "x", "y", "source", colours={"rac": "#123456"}, **named).data[1].line.color == "#123456"
        assert matters.bars(frame, "x", "y", "phase", level=2.0, stacked=True, **named).layout.barmode == "stack"

    def test_names_are_escaped(self):
        frame = pd.DataFrame({"x": ["<b>x"], "y": [1.0], "name": ["<img>"]})
        figure = matters.bars(frame, "x", "y", "name", title="t", caption="c")
        assert figure.data[0].name == "&lt;img&gt;" and figure.data[0].x[0] == "&lt;b&gt;x"

    def test_missing_columns(self):
        with pytest.raises(DataError, match="no column z; it has x"):
            matters.lines(pd.DataFrame({"x": [1]}), "x", "z", "x", title="t", caption="c")
