"""The index of reports and the explorer's server and cache, against damaged files and strangers."""

import base64
import hashlib
import http.client
import json
import os
import re
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_explorer import frame_of

import racviz as rv
from racviz.explorer import server as servers
from racviz.explorer.pyramid import open_pyramid
from racviz.explorer.server import Server
from racviz.reconstruction import ReconstructionErrors
from racviz.reports.index import build_index

NOTEBOOK = {
    "cells": [{"cell_type": "markdown", "source": "# A title", "metadata": {}}],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.mark.parametrize(
    "content",
    [
        '{"cells": [', "", "[]", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"outputs": 5}]}', "[" * 100_000, "\x00\xff",
        json.dumps({"cells": [{"cell_type": "code", "outputs": [{"metadata": {"racviz": {"numbers": [3], "parameters": 7}}}]}]}),
    ],
    ids=range(9),
)  # fmt: skip
def test_one_bad_notebook_takes_no_other_from_the_index(tmp_path, content):
    (tmp_path / "good.ipynb").write_text(json.dumps(NOTEBOOK))
    (tmp_path / "good.html").write_text("page")
    (tmp_path / "bad.ipynb").write_text(content)
    (tmp_path / "bad.html").write_text("page")
    page = build_index(tmp_path).read_text()
    assert 'href="good.html"' in page and "A title" in page and page.count("<article") == 2


def _saying(**said) -> dict:
    return {"cells": [*NOTEBOOK["cells"], {"cell_type": "code", "outputs": [{"metadata": {"racviz": said}}]}]}


@pytest.mark.parametrize("ending", [".ipynb", ".partial.ipynb"])
@pytest.mark.parametrize(
    "foreign",
    [
        *({"cells": [], "metadata": {"racviz": {"order": order}}} for order in ("x", [1], {"a": 1}, None, 10**400, float("nan"))),
        *({"cells": [], "metadata": {"papermill": {"duration": many}}} for many in (10**400, "x", float("inf"), [])),
        {"cells": [], "metadata": {"papermill": {"end_time": "\ud800"}}},
        _saying(finding="\ud800 \x1b[2J \u202e"), _saying(provenance=[["k", "\udfff"]]), _saying(parameters=[["model", "\udfff"]]),
        _saying(parameters=[["model", "x" * 10**6]], finding="y" * 10**6, caveat=["z"]),
    ],
    ids=range(15),
)  # fmt: skip
def test_foreign_metadata_takes_no_report_from_the_index(tmp_path, foreign, ending):
    (tmp_path / "good.ipynb").write_text(json.dumps(NOTEBOOK | {"metadata": {"racviz": {"order": 1}}}))
    (tmp_path / "good.html").write_text("page")
    (tmp_path / f"bad{ending}").write_text(json.dumps(foreign))
    (tmp_path / "bad.html").write_text("page")
    page = build_index(tmp_path).read_text()
    assert 'href="good.html"' in page and page.count("<article") == 2 and len(page) < 50_000
    assert not {"\x1b", "\u202e"} & set(page)


def test_special_files_beside_reports_are_damaged_notebooks(tmp_path):
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    page = build_index(tmp_path).read_text()
    assert page.count("is damaged") == 2


@pytest.mark.parametrize(
    "name", ["a#b", "a?b=c", "javascript:alert(1)", '"><img src=x onerror=alert(1)>'.replace("/", ""), "a b%20", "é"]
)
def test_links_lead_to_their_file_whatever_its_name(tmp_path, name):
    from html.parser import HTMLParser
    from urllib.parse import unquote

    (tmp_path / f"{name}.ipynb").write_text(json.dumps(NOTEBOOK))
    (tmp_path / f"{name}.html").write_text("page")
    links, tags = [], []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)
            links.extend(value for key, value in attrs if key == "href" and tag == "a")

    Parser().feed(build_index(tmp_path).read_text())
    assert (
        links and all(unquote(link) == f"{name}.html" and not set("#?:<>") & set(link) for link in links) and "img" not in tags
    )


@pytest.fixture
def errors(tmp_path):
    path = tmp_path / "errors.parquet"
    ReconstructionErrors(frame_of(rows=6, longest=40), {"sparsity": 0.5}).save(path)
    return path


@pytest.fixture
def server(errors):
    with Server(rv.explore(errors).session) as made:
        yield made


def status(server, method="GET", rest="", **headers) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", server._server.server_port, timeout=20)
    path = "/" + server.address.rstrip("/").rpartition("/")[2] + "/" + rest
    connection.request(method, path, "{}" if method == "POST" else None, headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders())


def test_other_pages_and_hosts_are_refused(server):
    port = server._server.server_port
    assert status(server)[0] == 200 and status(server, "POST", "ask")[0] == 200
    assert status(server, "POST", "ask", Origin=f"http://127.0.0.1:{port}")[0] == 200
    for origin in (
        "http://evil.example",
        "null",
        f"http://127.0.0.1:{port + 1}",
        f"https://127.0.0.1:{port}",
        f"http://127.0.0.1:{port}.evil",
    ):
        assert status(server, "POST", "ask", Origin=origin)[0] == 404
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", ""):
        assert status(server, Host=host)[0] == 404


def test_the_page_may_only_ask_its_own_server(server):
    policy = status(server)[1]["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy
    page = urllib.request.urlopen(server.address, timeout=20).read()
    (script,) = re.findall(rb"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    wanted = base64.b64encode(hashlib.sha256(script).digest()).decode()
    assert re.search(r"script-src ([^;]*);", policy)[1] == f"'sha256-{wanted}'", "no other script, inline or not"


@pytest.mark.parametrize(
    "body, size", [("[" * 60_000, None), ("{", None), ("{}", "\u00b2"), ("{}", "9" * 5000), ("{}", "-1"), ("[]", None)]
)
def test_requests_that_are_none_are_answered(server, body, size):
    size = str(len(body)) if size is None else size
    path = "/" + server.address.rstrip("/").rpartition("/")[2] + "/ask"
    with socket.create_connection(("127.0.0.1", server._server.server_port), timeout=20) as client:
        head = f"POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{server._server.server_port}\r\nContent-Length: {size}\r\n\r\n"
        client.sendall(head.encode("latin-1") + body.encode())
        assert client.recv(12).split()[1] in (b"200", b"400", b"413")
    assert status(server)[0] == 200


def test_a_slow_client_is_left_and_others_are_answered(errors):
    with (
        Server(rv.explore(errors).session, patience=0.3) as server,
        socket.create_connection(("127.0.0.1", server._server.server_port)) as slow,
    ):
        slow.sendall(b"POST /")
        assert status(server)[0] == 200
        slow.settimeout(10)
        assert slow.recv(1) == b"", "the server has closed it"


def test_two_hundred_at_once_are_answered(server):
    assert servers.BACKLOG >= 200
    start = threading.Barrier(50)

    def ask(number: int) -> int:
        if number < 50:
            start.wait()
        return len(urllib.request.urlopen(server.address, timeout=60).read())

    with ThreadPoolExecutor(50) as pool:
        assert len(set(pool.map(ask, range(200)))) == 1


@pytest.mark.parametrize("which", ["start/0.0.npy", "start/0.3.npy", "ids.npy", "meta.json", "start/sums.json"])
def test_a_flipped_bit_is_seen_and_mended(errors, which):
    first = open_pyramid(errors)
    wanted = np.array(first.level(first.names[0], 0)), np.array(first.ids), first.meta, np.array(first.level(first.names[0], 3))
    path = first.folder / which
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    del first
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        again = open_pyramid(errors)
        assert np.array_equal(again.level(again.names[0], 0), wanted[0])
        assert np.array_equal(again.level(again.names[0], 3), wanted[3])
        assert np.array_equal(again.ids, wanted[1]) and again.vocabulary == wanted[2]["vocabulary"]
        assert {**again.meta, "vocabulary": {}} == {**wanted[2], "vocabulary": {}}


def test_a_flipped_bit_in_an_aligned_level_is_mended(errors):
    first = open_pyramid(errors)
    wanted = np.array(first.level(first.names[0], 0, "boundary"))
    (path,) = first.folder.glob("boundary/0.0.npy")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    again = open_pyramid(errors)
    with pytest.warns(UserWarning, match="damaged"):
        assert np.array_equal(again.level(again.names[0], 0, "boundary"), wanted)


def test_a_special_file_among_a_pyramid_s_does_not_hang(errors):
    folder = open_pyramid(errors).folder
    (folder / "ids.npy").unlink()
    os.mkfifo(folder / "ids.npy")
    began = time.monotonic()
    with pytest.warns(UserWarning, match="damaged"):
        assert np.asarray(open_pyramid(errors).ids).max() > 0
    assert time.monotonic() - began < 30
