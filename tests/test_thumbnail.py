"""Small pictures of figures for the index: what is drawn, where, and that nothing in a figure breaks the page."""

import io
import json
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.subplots import make_subplots

from racviz.reports.thumbnail import HEIGHT, WIDTH, decoded, png, thumbnail

SVG = "{http://www.w3.org/2000/svg}"


def drawn(figure: go.Figure) -> ET.Element:
    text = thumbnail(json.loads(figure.to_json()))
    return ET.fromstring(text) if text else ET.Element("nothing")


def points(svg, place=0):
    return [tuple(map(float, pair.split(","))) for pair in svg.findall("polyline")[place].get("points").split()]


def test_a_line_goes_from_corner_to_corner():
    svg = drawn(go.Figure(go.Scatter(x=np.arange(3.0), y=np.array([0.0, 1.0, 2.0]), mode="lines", line_color="#0072B2")))
    assert points(svg) == [(4.0, HEIGHT - 4.0), (WIDTH / 2, HEIGHT / 2), (WIDTH - 4.0, 4.0)]
    assert svg.find("polyline").get("stroke") == "#0072B2"


def test_panels_stand_where_the_figure_has_them_and_logarithms_are_taken():
    figure = make_subplots(rows=1, cols=2)
    figure.add_scatter(x=[1, 10, 100], y=[0, 1, 2], mode="lines", row=1, col=1)
    figure.add_scatter(x=[1, 2], y=[5, 5], mode="lines", line_dash="dash", row=1, col=2)
    figure.update_xaxes(type="log", col=1)
    svg = drawn(figure)
    left, right = points(svg, 0), points(svg, 1)
    assert left[1][0] == pytest.approx((left[0][0] + left[2][0]) / 2, abs=0.1) and max(x for x, _ in left) < min(
        x for x, _ in right
    )
    assert svg.findall("polyline")[1].get("stroke-dasharray")


def test_bars_stand_on_zero_beside_each_other():
    svg = drawn(
        go.Figure(
            [go.Bar(x=["a", "b"], y=[1, 2], marker_color="#111111"), go.Bar(x=["a", "b"], y=[2, 1], marker_color="#222222")]
        )
    )
    bars = [rect for rect in svg.findall("rect") if rect.get("fill") in ("#111111", "#222222")]
    heights = [float(bar.get("height")) for bar in bars]
    assert heights[1] == pytest.approx(2 * heights[0], rel=0.01) and heights[2] == pytest.approx(heights[1], rel=0.01)
    assert len({float(bar.get("x")) for bar in bars}) == 4


def test_a_heatmap_is_a_picture_with_holes():
    z = np.array([[0.0, 1.0], [np.nan, 0.5]])
    svg = drawn(go.Figure(go.Heatmap(z=z, colorscale=[[0, "#000000"], [1, "#ffffff"]])))
    data = svg.find("image").get("href").partition(",")[2]
    import base64

    raw = base64.b64decode(data)
    body = zlib.decompress(raw[raw.index(b"IDAT") + 4 : raw.index(b"IEND") - 8])
    rows = np.frombuffer(body, np.uint8).reshape(2, 9)[:, 1:].reshape(2, 2, 4)
    assert rows[0, 0].tolist() == [0, 0, 0, 255] and rows[0, 1].tolist() == [255, 255, 255, 255] and rows[1, 0, 3] == 0


def test_a_png_is_read_by_others():
    image = pytest.importorskip("PIL.Image", reason="Pillow is not here")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4)).astype(np.uint8)
    assert np.array_equal(np.array(image.open(io.BytesIO(png(pixels)))), pixels)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=9))
def test_no_values_break_it(values):
    svg = drawn(go.Figure(go.Scatter(x=list(range(len(values))), y=values, mode="lines+markers")))
    assert "nan" not in ET.tostring(svg, encoding="unicode")


def test_what_is_not_drawn_and_what_is_hostile():
    assert thumbnail({}) == "" and thumbnail({"data": [{"type": "pie", "values": [1]}]}) == ""
    svg = drawn(go.Figure(go.Scatter(x=["<script>", "b"], y=[1, 2], mode="lines")))
    assert "script" not in ET.tostring(svg, encoding="unicode")
    hostile = thumbnail({"data": [{"type": "scatter", "x": [0, 1], "y": [0, 1], "line": {"color": '"><script>'}}]})
    assert "<script>" not in hostile


def test_packed_arrays_are_unpacked():
    z = np.arange(6.0).reshape(2, 3)
    packed = json.loads(go.Figure(go.Heatmap(z=z)).to_json())["data"][0]["z"]
    assert np.array_equal(decoded(packed).astype(float), z)
