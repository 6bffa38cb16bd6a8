"""Models and data sets by hub id, from a small hub on this machine through the very libraries that ask the real one."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from racviz.exceptions import DataError
from racviz.models import load_model
from racviz.problems import HUB, load_problems
from racviz.problems.texts import load_texts
from racviz.store import resource

HERE = Path(__file__).parent
pytest.importorskip("datasets", reason="datasets is not installed (extra: hub)")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The address of a hub, and the file in which it notes what it was asked for."""
    root = tmp_path_factory.mktemp("hub")
    sets = root / "datasets"
    write = {
        "HuggingFaceH4/MATH-500/test.jsonl": [
            dict(problem=f"What is {k} + 1?", solution="s", answer=str(k + 1), subject="Algebra", level=k % 5 + 1, unique_id=f"t/{k}")
            for k in range(20)
        ],
        "mine/other/train.jsonl": [dict(ask=f"Q{k}", gold=str(k)) for k in range(3)],
        "mine/broken/train.jsonl": [dict(question=f"Q{k}", answer=str(k)) for k in range(20)],
    }  # fmt: skip
    for name, rows in write.items():
        (sets / name).parent.mkdir(parents=True)
        (sets / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (sets / "mine/broken/train.jsonl").open("a") as file:
        file.write('{"question": "cut o')
    card = "---\nconfigs:\n- config_name: {}\n  data_files:\n  - split: train\n    path: {}\n---\n"
    big = "x" * 20_000
    for name, config, frame in (
        ("open-r1/OpenR1-Math-220k", "default",
         pd.DataFrame([dict(problem=f"P{k}", answer=str(k), uuid=f"u{k}", problem_type="Algebra", generations=[big]) for k in range(9)])),
        ("open-r1/codeforces", "verifiable-prompts",
         pd.DataFrame([dict(id=f"{k}/A", prompt=f"Write program {k}.", editorial=big) for k in range(9)])),
        ("openai/gsm8k", "main", pd.DataFrame([dict(question=f"Q{k}", answer=f"so\n#### {k},000") for k in range(9)])),
    ):  # fmt: skip
        (sets / name / "data").mkdir(parents=True)
        frame.to_parquet(sets / name / "data" / "train-00000-of-00001.parquet")
        (sets / name / "README.md").write_text(card.format(config, "data/train-*"))
    (sets / "allenai/c4/en").mkdir(parents=True)
    (sets / "allenai/c4/README.md").write_text(card.format("en", "en/c4-train.*.json.gz"))
    for k in range(4):
        with gzip.open(sets / f"allenai/c4/en/c4-train.{k:05d}-of-00004.json.gz", "wt") as file:
            file.writelines(json.dumps(dict(text=f"{k}-{j} of the web", timestamp="t", url="u")) + "\n" for j in range(10_050))
    model = root / "models" / "deepseek-ai" / "DeepSeek-R1-Distill-Qwen-1.5B"
    shutil.copytree(resource("data/models/tiny-reasoner-small"), model)
    (model / "pytorch_model.bin").write_bytes(b"never fetched")
    (model / "consolidated.safetensors").write_bytes(b"never fetched")
    (root / "models" / "owner" / "unsafe").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(model / name, root / "models" / "owner" / "unsafe")
    (root / "models" / "owner" / "unsafe" / "pytorch_model.bin").write_bytes(b"a pickle")
    for kind in ("models", "datasets"):
        (root / kind / "owner" / "gated").mkdir(parents=True)
        (root / kind / "owner" / "gated" / ".gated").touch()
    server = subprocess.Popen([sys.executable, HERE / "hub_server.py", root], stdout=subprocess.PIPE, text=True)
    yield server.stdout.readline().strip(), root / "asked.log"
    server.kill()


@pytest.fixture(scope="module")
def ask(hub, tmp_path_factory):
    """Evaluates expressions in one process that knows this hub; what each prints: a value, or `Error: message`."""
    home = str(tmp_path_factory.mktemp("home"))

    def run(*expressions: str, **environment: str) -> list[str]:
        code = (
            "import itertools, json, racviz as rv\nfrom racviz.problems.texts import load_texts\nsaid = []\n"
            f"for expression in {expressions!r}:\n"
            "    try: said.append(str(eval(expression)))\n"
            "    except rv.RacvizError as error: said.append(f'{type(error).__name__}: {error}')\n"
            "print(json.dumps(said))\n"
        )
        own = {"HF_ENDPOINT": hub[0], "HF_HOME": home, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
               "PYTHONPATH": str(HERE.parent)}  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code], env=os.environ | own | environment, capture_output=True, text=True,
                              timeout=200)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


R1 = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"


def test_a_model_by_its_id_is_fetched_once_and_without_what_is_not_safe(ask, hub):
    first, again = ask(f"rv.load_model({R1!r}).fingerprint", f"rv.load_model('{R1}@main').fingerprint")
    asked = hub[1].read_text()
    assert "model.safetensors" in asked and "pytorch_model.bin" not in asked and "consolidated" not in asked
    assert first == again, "the same commit"
    offline = ask(f"rv.load_model({R1!r}).fingerprint", HF_ENDPOINT="http://127.0.0.1:9")
    assert offline == [first], "the local copy serves without a network"


WRONG = [
    (f"rv.load_model('{R1}@v9')", "it has no such revision"),
    ("rv.load_model('deepseek-ai/DeepSeek-R1-Distil-Qwen-1.5B')", f"no such model.*Did you mean '{R1}'?"),
    ("rv.load_model('owner/gatd')", "no such model.*Did you mean 'owner/gated'?"),
    ("rv.load_model('owner/gated')", "access is gated.*hf auth login"),
    ("rv.load_model('owner/unsafe')", "not a checkpoint that transformers can load.*safetensors"),
    ("rv.load_problems('owner/gated')", "access is gated"),
    ("rv.load_problems('HuggingFaceH4/MATH-50')", "no such dataset.*Did you mean 'HuggingFaceH4/MATH-500'?"),
    ("rv.load_problems('math-500?split=train')", r"Bad split: train. Available splits: \['test'\]"),
    ("rv.load_problems('math-500', split='calibration')", "has 'test' problems only"),
    ("rv.load_problems('openr1-math?config=nix', split='calibration')", "'nix' not found. Available: .*default"),
    ("rv.load_problems('openr1-math?prompt=nix', split='calibration')", "no column 'nix'.*it has problem, answer, uuid"),
    ("rv.load_problems('mine/other', split='calibration')", "needs the column 'prompt'.*it has ask, gold"),
    (
        "rv.load_problems('mine/broken', split='calibration')",
        "data set 'mine/broken' cannot be read after row .* Pass a local file",
    ),
    ("list(load_texts('mine/other'))", "not a row with the column 'text'.*it has ask, gold"),
]


def test_what_is_wrong_is_said_in_one_line(ask):
    for (expression, message), said in zip(WRONG, ask(*[expression for expression, _ in WRONG]), strict=True):
        assert re.search(message, said) and "\n" not in said, f"{expression}: {said}"


def test_the_data_sets_of_the_paper(ask):
    math, openr1, codeforces, gsm8k, mine = ask(
        "rv.load_problems('HuggingFaceH4/MATH-500', limit=2)[1]",
        *(f"rv.load_problems({name!r}, split='calibration', limit=2)[1]"
          for name in ("openr1-math", "codeforces", "gsm8k", "mine/other?prompt=ask&answer=gold")),
    )  # fmt: skip
    assert "id='t/1', prompt='What is 1 + 1?', answer='2', domain='', family='Algebra', difficulty=2" in math
    assert "put your final answer within" in math and "put your final answer within" in gsm8k
    assert "id='u1', prompt='P1', answer='1'" in openr1 and "id='1/A', prompt='Write program 1.'" in codeforces
    assert "prompt='Q1', answer='1,000'" in gsm8k and "prompt='Q1', answer='1'" in mine


def test_generic_text_is_streamed_in_a_seeded_order(ask, hub):
    one, again, two = ask(*[f"list(itertools.islice(load_texts('c4', seed={seed}), 6))" for seed in (1, 1, 2)])
    assert one == again != two and "of the web" in one
    hub[1].write_text("")
    ask("list(itertools.islice(load_texts('c4', seed=3), 6))")
    assert len(set(re.findall("c4-train.0000.-of", hub[1].read_text()))) <= 2, (
        "the first, for its columns, and the one that is drawn"
    )


def test_without_a_network_it_is_said_at_once():
    for load, name in ((load_model, "deepseek-ai/DeepSeek-R1-Distil-Qwen-7B"), (load_problems, "HuggingFaceH4/MATH-500")):
        with pytest.raises(DataError, match="no network: .* Pass a local f") as caught:
            load(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="Did you mean 'deepseek-ai/DeepSeek-R1-Distill-Qwen-7B'"):
        load_model("deepseek-ai/DeepSeek-R1-Distil-Qwen-7B")
    with pytest.raises(DataError, match="no network"):
        next(iter(load_texts("c4")))


@pytest.mark.parametrize("name", HUB)
def test_short_names_and_ids_mean_the_same(name):
    for each in (name, HUB[name].id):
        split = next(iter(HUB[name].splits))
        with pytest.raises(DataError, match=f"data set '{HUB[name].id}' could not be had"):
            load_problems(each, split=split)
