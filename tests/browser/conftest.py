"""A real browser: Chromium, driven by Playwright. Errors on a page's console fail the test; screenshots stay in build/browser."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "build" / "browser"
BENIGN = (
    "Failed to load resource: the server responded with a status of 404",
    "Failed to load resource: net::ERR_CONNECTION",
    "Failed to load resource: net::ERR_SOCKET_NOT_CONNECTED",
    "ResizeObserver loop",
)
"""What JupyterLab itself says on a console: workspaces and settings that are not there yet; and a server that ends with its test."""


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.fail("the browser tests need Chromium: apt-get install chromium")
    with sync_playwright() as play:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        made = play.chromium.launch(executable_path=path, args=args)
        yield made
        made.close()


@pytest.fixture
def open_page(browser, request):
    """A function that opens pages; what they say as errors fails the test when it is over."""
    said: list[str] = []
    contexts = []

    def opened(address: str, offline: bool = False, benign: tuple[str, ...] = (), **how):
        def heard(text: str) -> None:
            if not text.startswith((*BENIGN, *benign)):
                said.append(text)

        context = browser.new_context(viewport=how.pop("viewport", {"width": 1280, "height": 900}), offline=offline, **how)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: heard(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: heard(str(error)))
        page.goto(address)
        return page

    yield opened
    PICTURES.mkdir(parents=True, exist_ok=True)
    for number, context in enumerate(contexts):
        for page in context.pages:
            with contextlib.suppress(Exception):
                page.screenshot(path=PICTURES / f"{request.node.name.replace('/', '-')}-{number}.png")
        context.close()
    assert not said, said


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """JupyterLab of this interpreter on a folder with the notebooks; the function gives a notebook's address."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for name, whole, part in (
        ("explore", "problems=48", "problems=12, budget=192, calibration_tokens=4096"),
        ("playground", 'playground(\\"tiny-reasoner\\"', 'playground(\\"tiny-reasoner\\", calibration_tokens=4096'),
    ):  # what is tried here is the explorer and the playground, not the pruning before them
        small = folder / "notebooks" / f"{name}.ipynb"
        text = small.read_text(encoding="utf-8")
        assert whole in text
        small.write_text(text.replace(whole, part), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", f"--IdentityProvider.token={token}", "--allow-root",
               f"--ServerApp.root_dir={folder}", "--LabApp.news_url=",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JUPYTER_CONFIG_DIR": str(folder / "config"),
                                "JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces"),
                                "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "RACVIZ_CACHE": str(folder / "cache"),
                                "OMP_NUM_THREADS": "1"}  # fmt: skip
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"windowingMode": "none"}', encoding="utf-8")  # outputs stay on the page when they are out of sight
    with (folder / "lab.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            for _ in range(120):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=2).close()
                    break
                time.sleep(0.5)
            else:
                raise AssertionError((folder / "lab.log").read_text()[-3000:])
            made = lambda path: f"http://127.0.0.1:{port}/doc/tree/notebooks/{path}?token={token}&reset"  # noqa: E731
            made.folder = folder
            yield made
        finally:
            process.terminate()
            process.wait(20)


def run_all(page, timeout: float = 240) -> list[str]:
    """Run every cell of the open notebook and wait for the last; returns the outputs that are errors."""
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    idle = "() => document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'"
    page.wait_for_function(idle, timeout=60_000)
    with contextlib.suppress(Exception):  # JupyterLab may ask which kernel, a moment after the notebook is there
        page.locator(".jp-Dialog button.jp-mod-accept").click(timeout=5000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    prompts = "() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map((each) => each.textContent)"
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        shown = page.evaluate(prompts)
        if shown and not any("*" in each or each.strip() == "[ ]:" for each in shown):  # "": its source is hidden
            break
        page.wait_for_timeout(500)
    else:
        raise AssertionError(f"the notebook did not end within {timeout} seconds: {page.evaluate(prompts)}")
    return page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()


def colours_of(png: bytes) -> set[tuple[int, ...]]:
    """The distinct colours of a screenshot, coarsely: what is drawn, not what the page says that it draws."""
    import io

    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))[::3, ::3].reshape(-1, 3) // 32
    return set(map(tuple, pixels.tolist()))
