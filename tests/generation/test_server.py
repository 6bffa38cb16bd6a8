"""A vLLM server by its address, against a small HTTP server that answers as vLLM does and fails on command."""

import json
import re
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

import racviz as rv
from racviz.exceptions import GenerationError, ParameterError
from racviz.generation import Request, Sampling, check_backend, completion_of, generate, opened
from racviz.generation.batches import complete

REQUESTS = [Request((1, 5, 9, 20 + k), f"p{k}") for k in range(6)]


class Stand(ThreadingHTTPServer):
    """Serves the greedy continuation of a loaded model; `faults` are taken one a completion, None for none."""

    def __init__(self, loaded):
        super().__init__(("127.0.0.1", 0), Handler)
        self.loaded, self.faults, self.asked, self.headers, self.room = loaded, [], [], [], 256
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, body, code=200):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.server.headers.append(dict(self.headers))
        self.answer({"data": [{"id": "served", "max_model_len": self.server.room}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            fault = self.server.faults.pop(0) if self.server.faults else None
            choice = self.complete(body)
        if isinstance(fault, int):
            return self.answer({"error": {"message": f"failed with {fault}"}}, fault)
        if fault == "hangs up":
            return self.connection.close()
        if fault == "sleeps":
            time.sleep(1.0)
        if fault == "no json":
            return self.answer(b"<html>a proxy</html>")
        if fault == "no ids":
            del choice["token_ids"]
        if fault == "other ids":
            choice["prompt_token_ids"] = [1, *choice["prompt_token_ids"]]
        if fault == "no choices":
            return self.answer({"choices": []})
        self.answer({"choices": [choice]})

    def complete(self, body):
        model, prompt = self.server.loaded.model, body["prompt"]
        with torch.inference_mode():
            logits = torch.log_softmax(model(torch.tensor([prompt])).logits[0].float(), -1)
            ids = model.generate(
                torch.tensor([prompt]),
                max_new_tokens=body["max_tokens"],
                do_sample=False,
                eos_token_id=body.get("stop_token_ids"),
            )
        ids = ids[0, len(prompt) :].tolist()
        stopped = ids[-1] in body.get("stop_token_ids", [])
        known = [None, *({str(token): {"logprob": float(logits[k, token])}} for k, token in enumerate(prompt[1:]))]
        return {"token_ids": ids[:-1] if stopped else ids, "stop_reason": ids[-1] if stopped else None, "prompt_logprobs": known,
                "finish_reason": "stop" if stopped else "length", "prompt_token_ids": prompt, "text": ""}  # fmt: skip


@pytest.fixture
def served(tiny):
    stand = Stand(tiny)
    threading.Thread(target=stand.serve_forever, daemon=True).start()
    yield stand
    stand.shutdown()
    stand.server_close()


def rows_of(loaded, stand, options="", sampling=Sampling(12, 0.0)):
    return dict(generate(loaded, REQUESTS, sampling, backend=f"{stand.url}{options}"))


def test_a_server_gives_the_rows_that_transformers_gives(tiny, served):
    theirs = rows_of(tiny, served)
    assert theirs == dict(generate(tiny, REQUESTS, Sampling(12, 0.0)))
    bodies = served.asked[4:]  # the first four ask which model it is
    assert all(body["model"] == "served" and body["return_token_ids"] and not body["add_special_tokens"] for body in bodies)
    assert len({body["seed"] for body in bodies}) == len(REQUESTS) and all(0 <= body["seed"] < 2**63 for body in bodies)


def test_a_server_of_another_model_is_refused(tiny, served, make_tiny):
    with torch.no_grad():
        other = tiny.copy()
        for layer in other.model.model.layers:
            layer.mlp.down_proj.weight.mul_(0.0)
    other.name = "pruned to nothing"
    with pytest.raises(GenerationError, match="serves another model than 'pruned to nothing'.*differ by"):
        rows_of(other, served)
    assert len(rows_of(other, served, "?verify=false")) == len(REQUESTS)


@pytest.mark.parametrize("fault", [500, 503, 429, "hangs up"])
def test_what_may_pass_is_asked_again(tiny, served, fault, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    expected = rows_of(tiny, served)
    served.faults = [None] * 4 + [fault, None, fault, fault]
    assert rows_of(tiny, served) == expected


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (500, "failed with 500: .*asked 3 times"),
        (400, "refused the request .400.: .*failed with 400"),
        (401, "refuses .401.: set RACVIZ_VLLM_API_KEY"),
        ("hangs up", "no server answers at http.*asked 3 times"),
        ("no json", "is no vLLM server"),
        ("no ids", "returns no token ids; vLLM 0.11 or newer does"),
        ("other ids", "continued other token ids than were sent: 5 instead of 4"),
        ("no choices", "does not answer as vLLM does"),
    ],
)
def test_a_server_that_fails_is_told_apart(tiny, served, fault, message, monkeypatch):
    import racviz.generation.server as room

    monkeypatch.setattr(room.time, "sleep", lambda seconds: None)
    served.faults = [None] * 4 + [fault] * 50
    with pytest.raises(GenerationError, match=message) as caught:
        rows_of(tiny, served, "?retries=2")
    assert "\n" not in str(caught.value)


def test_a_server_that_does_not_answer_in_time(tiny, served, monkeypatch):
    served.faults = [None] * 4 + ["sleeps"] * 40
    with pytest.raises(GenerationError, match="did not answer within 0.2 s; raise timeout.*asked 1 times"):
        rows_of(tiny, served, "?timeout=0.2&retries=0")


def test_no_server(tiny):
    with pytest.raises(GenerationError, match="no server answers at http://127.0.0.1:9: .*refused.*vllm serve"):
        list(generate(tiny, REQUESTS, Sampling(4), backend="http://127.0.0.1:9?retries=0"))


def test_a_server_with_less_room_or_another_name(tiny, served):
    served.room = 10
    with pytest.raises(GenerationError, match="takes 10 tokens; the longest request may need 16"):
        rows_of(tiny, served)
    with pytest.raises(ParameterError, match="model must be one that http.* serves .served.; not 'mine'"):
        rows_of(tiny, served, "?model=mine")


def test_the_key_goes_to_the_server_and_nowhere_else(tiny, served, monkeypatch, store):
    monkeypatch.setenv("RACVIZ_VLLM_API_KEY", "a-secret")
    complete(tiny, REQUESTS, Sampling(4, 0.0), served.url, store=store, progress=False)
    assert served.headers[0]["Authorization"] == "Bearer a-secret"
    written = [path.read_bytes() for path in store.root.rglob("*") if path.is_file()]
    assert written and not any(b"a-secret" in content for content in written)


@pytest.mark.parametrize("code", [400, 500])
@pytest.mark.parametrize("before", [0, 170, 190, 480, 495, 1990])
def test_an_error_page_that_repeats_the_key_does_not_show_a_part_of_it(tiny, served, monkeypatch, code, before):
    key = "q7Zk-" * 8
    monkeypatch.setenv("RACVIZ_VLLM_API_KEY", key)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    real = Handler.answer
    monkeypatch.setattr(
        Handler, "answer", lambda self, body, status=200: real(self, b"." * before + b" " + key.encode() + b" the end", code)
    )
    with warnings.catch_warnings(record=True) as said, pytest.raises(GenerationError) as caught:
        warnings.simplefilter("always")
        rows_of(tiny, served, "?retries=1")
    assert "q7Zk" not in str(caught.value) + "".join(str(each.message) for each in said)


@pytest.mark.parametrize("reason", [True, 5.0, 10**30, -1, "5", [5], {"a": 5}])
def test_a_stop_that_is_none_of_the_model_s_is_refused(tiny, served, reason, monkeypatch):
    real = Handler.complete
    monkeypatch.setattr(
        Handler, "complete", lambda self, body: real(self, body) | {"stop_reason": reason, "finish_reason": "stop"}
    )
    with pytest.raises(GenerationError, match="stopped at"):
        rows_of(tiny, served)


def test_an_endless_or_deep_answer_is_refused(tiny, served, monkeypatch):
    import racviz.generation.server as room

    real = Handler.answer
    monkeypatch.setattr(Handler, "answer", lambda self, body, code=200: real(self, b"[" * 200_000))
    with pytest.raises(GenerationError, match="no vLLM server"):
        rows_of(tiny, served)
    monkeypatch.setattr(room, "LARGEST", 1000)
    with pytest.raises(GenerationError, match="larger than"):
        rows_of(tiny, served)


def test_rows_that_came_before_a_failure_are_kept(tiny, served, store, monkeypatch):
    served.faults = [None] * 6 + [400]
    with pytest.raises(GenerationError, match="goes on from there"):
        complete(tiny, REQUESTS, Sampling(6, 0.0), f"{served.url}?concurrency=1", store=store, progress=False)
    (journal,) = (store.root / "journals").iterdir()
    kept = len(journal.read_text().splitlines())
    assert kept >= 2, "what came before the failure, and what was in flight then"
    before = len(served.asked)
    rows = complete(tiny, REQUESTS, Sampling(6, 0.0), served.url, store=store, progress=False)
    left = len(REQUESTS) - kept
    assert len(served.asked) - before == min(4, left) + left and len(rows) == len(REQUESTS)
    assert rows == [row for _, row in sorted(dict(generate(tiny, REQUESTS, Sampling(6, 0.0))).items())]


def test_an_evaluation_through_a_server(tiny, served):
    problems = [rv.Problem("a", "1 + 1", "2"), rv.Problem("b", "2 + 2", "4")]
    result = rv.evaluate(tiny, problems, Sampling(8, 0.0), backend=served.url, progress=False)
    assert result.label["backend"] == served.url and len(result.frame) == 2


def test_a_server_s_own_sampling_defaults_do_not_apply(tiny, served):
    """What is not said, a vLLM server takes from the model's generation_config.json: top_k, penalties."""
    rows_of(tiny, served)
    for body in served.asked:
        assert body["top_k"] == 0 and body["repetition_penalty"] == 1.0 and body["min_p"] == 0.0 == body["presence_penalty"]


def test_a_name_alone_does_not_make_a_pruned_model_the_one_that_is_served(tiny, served):
    near = tiny.copy()
    with torch.no_grad():
        near.model.model.layers[0].mlp.down_proj.weight.mul_(0.8)
    apart = 0.0
    for name, provenance in (("served", {"prune": {}}), ("served@v1 · rac 50%", {"prune": {}})):
        near.name, near.provenance = name, provenance
        with pytest.raises(GenerationError, match="serves another model") as caught:
            rows_of(near, served)
        apart = float(re.search("differ by ([0-9.]+)", str(caught.value))[1])
    assert 0.03 < apart < 0.3, "near enough to pass for another dtype of the same weights"
    near.name, near.provenance = "served", {}
    assert len(rows_of(near, served)) == len(REQUESTS), "which is what the served name of an unchanged model is taken for"


def test_a_server_that_was_refused_is_refused_again(tiny, served):
    other = tiny.copy()
    with torch.no_grad():
        other.model.lm_head.weight.mul_(0.0)
    with opened(other, served.url) as running:
        for _ in range(2):
            with pytest.raises(GenerationError, match="serves another model"):
                list(generate(other, REQUESTS, Sampling(4), backend=running))


@pytest.mark.parametrize("reason", ["abort", "error", "repetition", None])
def test_a_row_that_was_broken_off_is_no_rollout(reason):
    with pytest.raises(GenerationError, match="broke a row off"):
        completion_of([1, 2], reason, None)
    assert completion_of([1, 2], "stop", 9).output_ids == (1, 2, 9) and completion_of([1, 9], "stop", 9).output_ids == (1, 9)


@pytest.mark.parametrize("key", ["a-secret\rX", "a-secr\net", "clé-secrète"])
def test_a_key_that_is_no_key_is_not_shown(tiny, served, monkeypatch, key):
    monkeypatch.setenv("RACVIZ_VLLM_API_KEY", key)
    with pytest.raises(ParameterError, match="must be one line of plain characters") as caught:
        rows_of(tiny, served)
    assert "secr" not in str(caught.value).replace("RACVIZ_VLLM_API_KEY", "")
    monkeypatch.setenv("RACVIZ_VLLM_API_KEY", "a-secret\r\n")  # as a file of another system gives it
    assert rows_of(tiny, served) and served.headers[-1]["Authorization"] == "Bearer a-secret"


def test_a_key_does_not_follow_a_redirection(tiny, served, monkeypatch):
    monkeypatch.setenv("RACVIZ_VLLM_API_KEY", "a-secret")
    served.faults = [None] * 4 + [302] * 20
    with pytest.raises(GenerationError, match="sends us elsewhere .302."):
        rows_of(tiny, served)


@pytest.mark.parametrize("word", [("on", True), ("off", False), ("No", False), ("1", True)])
def test_words_for_true_and_false(word):
    assert check_backend(f"http://a:1?verify={word[0]}").verify is word[1]
    with pytest.raises(ParameterError, match="verify must be of type bool; not 'maybe'"):
        check_backend("http://a:1?verify=maybe")


@pytest.mark.parametrize("url", ["HTTP://user:s3cret@host", "user:s3cret@host", "https://s3cret@host:1", "ftp://host"])
def test_an_odd_address_is_refused_without_its_secret(url):
    with pytest.raises(ParameterError, match="holds a credential|is no address") as caught:
        check_backend(url)
    assert "s3cret" not in str(caught.value)


def test_ctrl_c_does_not_wait_for_the_server(tiny, served):
    served.faults = [None] * 4 + ["sleeps"] * 40
    began, before = time.monotonic(), set(threading.enumerate())
    rows = generate(tiny, REQUESTS * 4, Sampling(4, 0.0), backend=f"{served.url}?concurrency=2")
    next(rows)
    rows.close()  # as an interruption does
    assert time.monotonic() - began < 20
    assert all(thread.daemon for thread in set(threading.enumerate()) - before), "nothing is waited for at the end"


@pytest.mark.parametrize("sparsity", [0.1, 0.3])
def test_a_model_pruned_by_little_is_told_from_the_dense_one(served, sparsity):
    """On the embedded model, whose prompts alone are so sure that a third of its weights may go unnoticed."""
    dense = rv.load_model("tiny-reasoner-small")
    served.loaded = dense
    pruned = rv.prune(
        dense, rv.calibration_set("generic", dense, tokens=1024), method="wanda", sparsity=sparsity, progress=False
    )
    prompts = [Request(tuple(dense.render(p.text)), p.id) for p in rv.load_problems("arithmetic", limit=4)]
    with pytest.raises(GenerationError, match="serves another model than"):
        list(generate(pruned, prompts, Sampling(4, 0.0), backend=served.url))
    assert len(list(generate(dense, prompts, Sampling(4, 0.0), backend=served.url))) == 4


def test_a_study_whose_pruned_models_must_answer_refuses_a_server_before_it_begins(tmp_path):
    study = rv.Study(backend="http://localhost:1", run=str(tmp_path / "run"))
    for step in (study.evaluations, study.results, lambda: study.evaluation("rac", 0.5)):
        with pytest.raises(
            ParameterError, match="backend='http://localhost:1' serves one model, but pruned ones have to answer"
        ):
            step()


def test_each_retry_is_told(tiny, served, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    served.faults[:] = [None] * 4 + [503]
    with pytest.warns(UserWarning, match=r"failed with 503.*asking again \(1 of 5\)"):
        rows_of(tiny, served)


@pytest.mark.parametrize("code", [400, 401, 503, 302, 200])
@pytest.mark.parametrize("before", [0, 190, 99_990])
def test_a_server_that_repeats_the_request_does_not_show_the_key(tiny, served, monkeypatch, code, before):
    """An error page with the headers of the request: whole, encoded, or cut in the middle of the key."""
    from urllib.parse import quote

    key = "a-secret+key/of=some-length"
    monkeypatch.setenv("RACVIZ_VLLM_API_KEY", key)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def repeats(self, body, _=200, real=Handler.answer):
        if self.command == "GET":
            return real(self, body)
        heard = self.headers["Authorization"]
        text = "." * before + f"{heard} {heard.upper()} {quote(heard)} {json.dumps(dict(self.headers))}"
        real(self, json.dumps({"error": text, "headers": dict(self.headers)}).encode(), code)

    monkeypatch.setattr(Handler, "answer", repeats)
    with pytest.raises(GenerationError) as caught, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        rows_of(tiny, served, "?retries=1&verify=false")
    seen = " ".join(
        [str(caught.value), repr(caught.value.__cause__), repr(caught.value.args), *(str(each.message) for each in warned)]
    )
    assert "a-secret" not in seen.lower() and "a-sec" not in seen.lower() and served.url in seen


@pytest.mark.parametrize("last", [10**9, -1, 10**30, 7, 5.0])
def test_a_token_that_stopped_it_is_one_that_stops(tiny, served, monkeypatch, last):
    """A server's word for the last token is held against the tokens that end an answer; another word is a stop nobody asked for."""
    real = Handler.complete
    told = dict(token_ids=[5, 6], finish_reason="stop", stop_reason=last)
    monkeypatch.setattr(Handler, "complete", lambda self, body: real(self, body) | told)
    with pytest.raises(GenerationError):
        rows_of(tiny, served, "?verify=false")


@pytest.mark.parametrize("ids, last", [([5, 100], None), ([5], 100), ([-1], None), ([5], -1), ([10**30], None)])
def test_ids_of_a_worker_are_held_against_the_vocabulary(ids, last):
    assert completion_of([5, 99], "stop", None, 100).output_ids == (5, 99)
    assert completion_of([5], "stop", 99, 100).output_ids == (5, 99)
    with pytest.raises(GenerationError):
        completion_of(ids, "stop", last, 100)


@pytest.mark.parametrize(
    "change",
    [
        dict(token_ids=[5, 999_999, 2]), dict(token_ids=[-5]), dict(token_ids=["5"]), dict(token_ids=[None]), dict(token_ids=[5] * 99),
        "choice", dict(prompt_logprobs=[None, 0.5]), dict(prompt_logprobs=[None, {"5": {"logprob": None}}]),
        dict(prompt_logprobs=[None, {"5": {}}]),
    ],
)  # fmt: skip
def test_answers_that_are_not_as_they_should_be(tiny, served, change, monkeypatch):
    real = Handler.complete
    monkeypatch.setattr(
        Handler, "complete", lambda self, body: change if isinstance(change, str) else real(self, body) | change
    )
    with pytest.raises(GenerationError):
        rows_of(tiny, served)


def test_an_answer_that_drips_is_given_up(tiny, served, monkeypatch):
    def drips(self, body, code=200):
        self.send_response(200)
        self.end_headers()
        for _ in range(40):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.1)

    monkeypatch.setattr(Handler, "answer", drips)
    began = time.monotonic()
    with pytest.raises(GenerationError, match="did not answer within"):
        rows_of(tiny, served, "?timeout=0.5&retries=0")
    assert time.monotonic() - began < 3
