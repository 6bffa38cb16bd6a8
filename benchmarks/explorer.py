"""How long the explorer makes one wait, in a real browser: opening errors, zooms and pans from the event to the painted picture.

    python benchmarks/explorer.py [--rows 500] [--tokens 32768] [--times 20]

The errors are synthetic, of the size of 500 problems with 32,768 tokens each; against them, in the same run, plotly draws the same
cells as the static figure does (binned to 1,500 columns). Needs Chromium. Results go to benchmarks/results/explorer.csv.
"""

import argparse
import csv
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "explorer.csv"


def synthetic(path: Path, rows: int, tokens: int, seed: int = 0) -> None:
    """Errors of two sources: every row of all tokens, prompts of 50 to 400, digits and words."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = np.random.default_rng(seed)
    lengths = np.full(rows, tokens)
    t_in = draw.integers(min(50, tokens // 4), min(400, tokens // 2) + 1, rows)
    row = np.repeat(np.arange(rows, dtype=np.int32), lengths)
    position = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])
    decode = position >= t_in[row]
    rac = draw.lognormal(2, 0.4, len(row)).astype(np.float32)
    prompt = (rac * np.where(decode, 2.5, 0.6) * draw.lognormal(0, 0.3, len(row))).astype(np.float32)
    ids = draw.integers(0, 64, len(row), dtype=np.int32)
    words = pa.array([str(k % 10) if k < 20 else f"w{k}" if k < 60 else "\n" for k in range(64)])
    table = pa.table(
        {
            "problem_id": pa.DictionaryArray.from_arrays(pa.array(row), pa.array([f"problem-{k}" for k in range(rows)])),
            "position": position, "token_id": ids, "token": pa.DictionaryArray.from_arrays(pa.array(ids), words),
            "phase": pa.DictionaryArray.from_arrays(pa.array(decode.astype(np.int8)), pa.array(["prompt", "decode"])),
            "norm_dense": (rac * 4).astype(np.float32), "e_prompt": prompt, "e_rac": rac,
        }
    ).replace_schema_metadata({b"racviz": json.dumps({"model": "synthetic", "metric": "hidden", "layer": "final"}).encode()})  # fmt: skip
    pq.write_table(table, path)


def in_browser(path: Path, times: int) -> dict[str, list[float]]:
    """Seconds: opening (session and page, pyramid there), then each zoom and pan from the input event to the painted picture."""
    from playwright.sync_api import sync_playwright

    import racviz as rv
    from racviz.explorer.server import Server

    found: dict[str, list[float]] = {"open": [], "zoom": [], "pan": []}
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as play:
        shown = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for _ in range(3):
            page = shown.new_page(viewport={"width": 1280, "height": 900})
            began = time.perf_counter()
            with Server(rv.explore(path).session) as server:
                page.goto(server.address)
                page.wait_for_selector('[data-ready="1"]')
                found["open"].append(time.perf_counter() - began)
                box = page.locator("canvas").bounding_box()
                assert box is not None
                x, y = box["x"] + box["width"] / 3, box["y"] + 200
                taken = "document.getElementById('explorer').rvx.state.timings.splice(0)"
                page.evaluate(taken)
                page.mouse.move(x, y)
                for k in range(times):
                    page.mouse.wheel(0, -160 if k % 10 < 6 else 160)
                    page.wait_for_timeout(220)
                found["zoom"] += [each / 1000 for each in page.evaluate(taken)]
                for k in range(times):
                    page.mouse.down()
                    page.mouse.move(x + (60 if k % 2 else -60), y)
                    page.mouse.up()
                    page.mouse.move(x, y)
                    page.wait_for_timeout(220)
                found["pan"] += [each / 1000 for each in page.evaluate(taken)]
            page.close()
        shown.close()
    return found


def by_plotly(path: Path) -> float:
    """Seconds until plotly's figure of the same errors is JSON, without its drawing."""
    import racviz as rv

    errors = rv.ReconstructionErrors.load(path)
    began = time.perf_counter()
    rv.figures.error_heatmap(errors, "prompt", "rac").to_json()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--no-plotly", action="store_true", help="leave out the static figure, which takes minutes and 10 GiB")
    asked = parser.parse_args()
    from racviz.explorer.pyramid import open_pyramid

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "errors.parquet"
        synthetic(path, asked.rows, asked.tokens)
        began = time.perf_counter()
        cells = int(open_pyramid(path).lengths.sum())
        rows = [("pyramid, once", 1, time.perf_counter() - began)]
        rows += [(name, len(each), statistics.median(each)) for name, each in in_browser(path, asked.times).items()]
        if not asked.no_plotly:
            rows.append(("static figure of plotly, its JSON alone", 1, by_plotly(path)))
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["what", "tokens", "times", "median_seconds"])
        for name, times, seconds in rows:
            writer.writerow([name, cells, times, f"{seconds:.4f}"])
            print(f"{name:<42} {cells:>12,} tokens  n = {times:<3} median {1000 * seconds:10.1f} ms")


if __name__ == "__main__":
    main()
