"""The paper's tables, row by row against facts that were checked by hand, and set beside measured ones."""

import math

import pandas as pd
import pytest

import racviz as rv
from racviz.exceptions import DataError, ParameterError
from racviz.paper import printed_model
from racviz.statistics import beside_published, published_sentence

KEYS = {
    "math": ["model", "sparsity", "source"],
    "code": ["model", "sparsity", "source"],
    "off_policy": ["model", "sparsity", "trace_source"],
    "semi_structured": ["model", "thirds", "source", "weights"],
    "budgets": ["model", "sparsity", "budget"],
}
every_table = pytest.mark.parametrize("name", KEYS)


def row(name, **values):
    table = rv.published(name).fillna({"weights": "", "thirds": ""})
    for column, value in values.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


@every_table
def test_every_row_is_a_cell_of_its_own_from_a_named_table(name):
    table = rv.published(name)
    assert not table.duplicated(KEYS[name]).any()
    assert table["accuracy"].dropna().between(0, 1).all()
    assert set(table["printed_in"]) <= {*(f"arXiv v1, Table {k}" for k in range(1, 6)), "ICLR 2026 version"}
    assert "quoted_in" not in table and table["published"].all()


def test_all_rows_are_there():
    assert {name: len(rv.published(name)) for name in KEYS} == {
        "math": 59, "code": 39, "off_policy": 8, "semi_structured": 9, "budgets": 6,
    }  # fmt: skip
    models = rv.published("math").groupby("model", sort=False).size().to_dict()
    assert models == {**{f"R1-Distill-Qwen-{size}B": 13 for size in ("1.5", "7", "14", "32")}, "Qwen3-8B": 7}
    assert set(rv.published("code")["model"]) == {f"R1-Distill-Qwen-{size}B" for size in ("1.5", "7", "14")}
    with pytest.raises(ParameterError, match="not 'maths'. Did you mean 'math'"):
        rv.published("maths")


@pytest.mark.parametrize(
    ("name", "cell", "numbers"),
    [
        ("math", ("R1-Distill-Qwen-1.5B", 0.5, "generic"), (0.356, 0.021, 156.5)),
        ("math", ("R1-Distill-Qwen-1.5B", 0.2, "prompt"), (0.840, 0.016, 24.4)),
        ("math", ("R1-Distill-Qwen-7B", 0.0, "dense"), (0.936, None, 23.3)),
        ("math", ("R1-Distill-Qwen-7B", 0.5, "rac"), (0.900, 0.013, 35.3)),
        ("math", ("R1-Distill-Qwen-14B", 0.0, "dense"), (0.941, None, 50.3)),
        ("math", ("R1-Distill-Qwen-14B", 0.4, "prompt"), (0.928, 0.012, 73.1)),
        ("math", ("R1-Distill-Qwen-32B", 0.0, "dense"), (0.942, 0.011, 64.3)),
        ("math", ("R1-Distill-Qwen-32B", 0.5, "generic"), (None, None, None)),
        ("math", ("R1-Distill-Qwen-32B", 0.5, "rac"), (0.924, 0.012, 100.6)),
        ("math", ("Qwen3-8B", 0.0, "dense"), (0.962, None, None)),
        ("math", ("Qwen3-8B", 0.5, "prompt"), (0.470, None, None)),
        ("math", ("Qwen3-8B", 0.5, "rac"), (0.862, None, 17)),
        ("code", ("R1-Distill-Qwen-1.5B", 0.5, "generic"), (0.004, 0.002, 464.2)),
        ("code", ("R1-Distill-Qwen-7B", 0.5, "prompt"), (0.228, 0.021, 1174.8)),
        ("code", ("R1-Distill-Qwen-14B", 0.0, "dense"), (0.513, None, None)),
        ("code", ("R1-Distill-Qwen-14B", 0.3, "rac"), (0.496, 0.027, 759.0)),
        ("off_policy", ("R1-Distill-Qwen-7B", 0.5, "own"), (0.900, 0.013)),
        ("off_policy", ("R1-Distill-Qwen-7B", 0.5, "R1-Distill-Qwen-14B"), (0.876, 0.0148)),
        ("semi_structured", ("R1-Distill-Qwen-14B", "", "dense", ""), (None, None, 1426)),
        ("semi_structured", ("R1-Distill-Qwen-14B", "1", "rac", ""), (0.950, 0.001, 1532)),
        ("semi_structured", ("R1-Distill-Qwen-14B", "1, 3", "rac", ""), (0.940, 0.012, 1561)),
        ("semi_structured", ("R1-Distill-Qwen-14B", "1, 3", "rac", "FP8"), (0.920, 0.0106, 1675)),
        ("semi_structured", ("R1-Distill-Qwen-14B", "1, 2, 3", "rac", "FP8"), (0.892, 0.014, 1823)),
        ("budgets", ("R1-Distill-Qwen-7B", 0.0, 8192), (0.904, None, 10.5)),
        ("budgets", ("R1-Distill-Qwen-7B", 0.4, 4096), (0.836, None, 8.6)),
    ],
)
def test_values_as_printed(name, cell, numbers):
    found = row(name, **dict(zip(KEYS[name], cell, strict=True)))
    last = "tokens_per_second" if name == "semi_structured" else "minutes"
    for column, value in zip(("accuracy", "se", last), numbers, strict=False):
        got = found.get(column, math.nan)
        assert math.isnan(got) if value is None else got == pytest.approx(value)


def test_standard_errors_are_those_of_500_problems_but_for_the_known_ones():
    """MATH-500, a sample a problem: sqrt(p (1 - p) / 500), printed with three digits."""
    odd = []
    for name in ("math", "off_policy", "semi_structured"):
        for each in rv.published(name).dropna(subset=["se"]).itertuples():
            binomial = math.sqrt(each.accuracy * (1 - each.accuracy) / 500)
            if abs(each.se - binomial) > 0.05 * binomial + 0.0005:
                odd.append((name, each.accuracy, each.se))
    assert sorted(odd) == [
        ("semi_structured", accuracy, se) for accuracy, se in ((0.920, 0.0106), (0.940, 0.012), (0.950, 0.001))
    ]
    exchanged = [math.sqrt(accuracy * (1 - accuracy) / 500) for accuracy in (0.940, 0.920)]
    assert exchanged == pytest.approx([0.0106, 0.012], abs=2e-4), "each is the SE of the other's accuracy"


def test_standard_errors_of_code_are_below_those_of_one_sample_a_problem():
    """Sixteen samples a problem: the SE over problems lies between that of independent samples and that of a single one."""
    for each in rv.published("code").dropna(subset=["se"]).itertuples():
        variance = each.accuracy * (1 - each.accuracy)
        assert math.sqrt(variance / (16 * 400)) <= each.se <= 1.02 * math.sqrt(variance / 260)


def test_tables_agree_where_they_print_the_same_cell():
    math_table = rv.published("math").set_index(["model", "sparsity", "source"])["accuracy"]
    for each in rv.published("off_policy").query("trace_source == 'own'").itertuples():
        assert each.accuracy == math_table[each.model, each.sparsity, "rac"]
    for each in rv.published("budgets").query("budget == 32768").itertuples():
        assert each.accuracy == math_table[each.model, each.sparsity, each.source]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "R1-Distill-Qwen-7B"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B@main", "R1-Distill-Qwen-7B"),
        ("/models/deepseek-r1-distill-qwen-1.5b/", "R1-Distill-Qwen-1.5B"),
        ("Qwen/Qwen3-8B", "Qwen3-8B"),
        ("Qwen/Qwen3-8B-Base", None),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", None),
        ("tiny-reasoner", None),
    ],
)
def test_a_model_is_found_in_the_paper_by_its_whole_name(name, expected):
    assert printed_model(name, list(dict.fromkeys(rv.published("math")["model"]))) == expected


def measured(model, accuracy=0.75):
    cells = [("dense", 0.0, 1.0), ("rac", 0.5, accuracy), ("rac", 0.7, 0.25)]
    return pd.DataFrame([dict(model=model, source=s, sparsity=p, accuracy=a, se=0.01, minutes=2.5) for s, p, a in cells])


def test_measured_and_published_stand_in_one_row():
    table = beside_published(measured("tiny-reasoner"), rv.published("math")).set_index(["sparsity", "source"])
    assert list(table.columns)[:3] == [
        "tiny-reasoner, measured",
        "R1-Distill-Qwen-1.5B, published",
        "R1-Distill-Qwen-7B, published",
    ]
    assert table.shape[1] == 6 and list(table.index)[0] == (0.0, "dense") and not table.index.duplicated().any()
    assert list(table.loc[(0.5, "rac")])[:3] == ["75.0 ± 1.0", "66.4 ± 2.1", "90.0 ± 1.3"]
    assert list(table.loc[(0.7, "rac")])[:3] == ["25.0 ± 1.0", "", ""]
    assert table.loc[(0.5, "generic"), "R1-Distill-Qwen-32B, published"] == "", "which was not run"
    assert table.loc[(0.5, "rac"), "Qwen3-8B, published"] == "86.2", "printed without SE"


def test_a_model_of_the_paper_stands_beside_itself_alone():
    mine = measured("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B")
    table = beside_published(mine, rv.published("math"), value="minutes").set_index(["sparsity", "source"])
    assert list(table.columns) == ["deepseek-ai/DeepSeek-R1-Distill-Qwen-7B, measured", "R1-Distill-Qwen-7B, published"]
    assert list(table.loc[(0.5, "rac")]) == ["2.5", "35.3"]
    with pytest.raises(DataError, match="budget"):
        beside_published(mine, rv.published("budgets"), ["budget", "source"])


def test_printed_errors_decide_what_the_paper_leaves_open():
    def cell(source, right):
        rows = [dict(problem_id=str(k), sample=0, correct=k < right, sparsity=0.5, source=source) for k in range(50)]
        return pd.DataFrame(rows).assign(think_tokens=1, output_tokens=1, finish_reason="stop", model="m", budget=9)

    here = pd.concat([cell("rac", 45), cell("prompt", 5)])
    rows = [dict(model="A", source=s, sparsity=0.5, accuracy=a) for s, a in (("rac", 0.9), ("prompt", 0.8))]
    assert "as the paper has it for A" in published_sentence(here, pd.DataFrame(rows).assign(se=0.01))
    assert "leaves open for A" in published_sentence(here, pd.DataFrame(rows).assign(se=0.04))
