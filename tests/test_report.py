"""The page and the figures of a study: what stands in them, and that nothing outside is asked for."""

import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from conftest import clean_environment
from study_results import BATCHES, a_study

from schuss.study import figures, report
from schuss.study.results import ResultsError

Text = pytest.importorskip("matplotlib.text").Text

EVIL = '<img src=x onerror="alert(1)">&$x$'
KINDS = ["time", "gflops", "speedup", "scaling", "peak", "loss"]
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Elements with their attributes, the text of each, and whether every one that opens is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text, self.crossed = [], [], {}, []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def study():
    return a_study(batches=(128, 4096))


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    study.save(folder)
    assert report.write(folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_every_figure_is_a_file_of_both_kinds(folder):
    names = {f"{kind}-net-{n}h" for kind in KINDS for n in (1, 2)}
    assert {path.name for path in (folder / "figures").iterdir()} == {
        f"{n}.{e}" for n in names for e in ("svg", "png")
    }
    for path in (folder / "figures").glob("*.svg"):
        assert "var(" not in path.read_text(encoding="utf-8")  # colours that any program knows
        assert "dc:date" not in path.read_text(encoding="utf-8")  # the same results give the same file
        ElementTree.parse(path)


def test_the_page_asks_for_nothing_outside(text, page):
    assert not page.all("link")
    for _, attrs in page.elements:
        for name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
            assert attrs.get(name, "#").startswith("#"), attrs
    assert not re.search(r"url\((?!#)|@import|https?:|//[a-z]", re.sub(r"(?m)^\s*// .*$", "", text))
    assert "default-src 'none'" in page.all("meta")[2]["content"]


def test_links_inside_the_page_lead_somewhere(text, page):
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    wanted = re.findall(r'(?:url\(#|href="#)([^)"]+)', text)
    wanted += [i for _, attrs in page.elements for i in attrs.get("aria-labelledby", "").split()]
    assert len(wanted) > 20
    assert set(wanted) <= set(ids)


def test_figures_say_what_they_show(page):
    drawings = page.all("svg")
    assert len(drawings) == 12
    assert all(drawing["role"] == "img" and drawing["aria-labelledby"] for drawing in drawings)
    assert "Shortest: Hybrid at batch 4,096" in page.text["desc"]


def test_figures_turn_with_the_theme(text):
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}", drawn)
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", drawn))
    assert {"--ink", "--muted", "--paper", "--batch-2-0", "--batch-2-1", "--native"} <= used
    assert all(f"{name}:" in text for name in used)


def test_tables_have_captions_and_headings_that_sort(page):
    assert len(page.all("table")) == len(page.all("caption")) == 6
    sorting = [attrs for attrs in page.all("th") if attrs.get("scope") == "col"]
    assert sorting
    assert all(attrs["aria-sort"] == "none" for attrs in sorting)
    assert "128" in page.text["button"]


def test_verdict_machine_and_absent_ones_are_told(text):
    for words in ("Hybrid is the fastest", "✓ confirmed", "✕ refuted", "Not judged, for want of measurements",
                  "AMD EPYC", "this version has no GPU engine", "OMP_NUM_THREADS", "schuss bench --preset paper",
                  "4 May 2026, 10:20 UTC", "97.71 %"):  # fmt: skip
        assert words in text, words


def test_scaled_measurements_are_marked(text):
    assert "Striped: measured on a share of the examples" in text
    assert re.search(r'data-value="14\.[0-9]+"[^>]*>14\.[0-9]†<', text)
    whole = a_study(batches=(128,), names=("native-serial", "hybrid"))
    page = report.render(whole, figures.draw_all(whole))
    assert "Striped" not in page
    assert "†" not in page


def test_names_are_text_wherever_they_come_from(tmp_path):
    study = a_study(batches=(128,), names=("native-serial", "hybrid"))
    facts = study.networks["Net-1h"]

    def renamed(part):
        return tuple(dataclasses.replace(x, network=EVIL) for x in part if x.network == "Net-1h")

    evil = dataclasses.replace(
        study,
        networks={EVIL: facts},
        implementations={
            name: dataclasses.replace(i, label=EVIL) for name, i in study.implementations.items()
        },
        machine={"cpu": EVIL},
        environment={EVIL: EVIL},
        command=(EVIL,),
        absent=(dataclasses.replace(study.absent[0], reason=EVIL, name=EVIL),),
        **{part: renamed(getattr(study, part)) for part in ("runs", "scaling", "loss_curves", "accuracy")},
    )
    evil.save(tmp_path)
    page = Page(report.write(tmp_path).read_text(encoding="utf-8"))
    assert not page.all("img")
    assert EVIL in page.text["td"]
    assert EVIL in page.text["text"]
    assert all(re.fullmatch(r"[a-z0-9-]+\.(svg|png)", path.name) for path in (tmp_path / "figures").iterdir())


def test_what_was_not_measured_is_not_drawn():
    some = a_study(batches=(128,), names=("native-serial", "hybrid"), loss_curves=(), accuracy=(), scaling=())
    drawings = figures.draw_all(some)
    assert list(drawings) == ["time", "gflops", "speedup", "peak"]
    text = report.render(some, drawings)
    assert "How fast the loss falls" not in text
    assert "Accuracy" not in text
    assert "Not judged" not in text  # the 2016 report is not mentioned where none of it can be judged
    assert figures.draw_all(dataclasses.replace(some, runs=())) == {}


def test_the_page_of_a_study_without_any_run_is_whole():
    empty = a_study(runs=(), scaling=(), loss_curves=(), accuracy=())
    assert "What was not measured" in Page(report.render(empty, {})).text["span"]


def test_the_same_results_give_the_same_page(study, text):
    assert report.render(study, figures.draw_all(study)) == text


def test_many_batch_sizes_and_implementations():
    many = a_study(batches=(1, 2, 4, 8, 16, 32, 64, 128, 4096))
    time = figures.time_per_epoch(many, "Net-1h")
    assert [text.get_text() for text in time.figure.legends[0].get_texts()][1:3] == ["1", "2"]
    assert len(set(re.findall(r"--batch-9-\d", time.inline()))) == 9


def test_bars_and_whiskers_are_the_numbers(study):
    axes = figures.time_per_epoch(study, "Net-2h").figure.axes[0]
    of = [run for run in study.runs if run.network == "Net-2h"]
    assert sorted(bar.get_width() for bar in axes.patches) == pytest.approx(sorted(run.seconds for run in of))
    ends = {tuple(line.get_xdata()) for line in axes.lines}
    assert {(run.low, run.high) for run in of} <= ends
    assert sum(bar.get_hatch() is not None for bar in axes.patches) == sum(run.share < 1 for run in of)
    assert axes.get_xscale() == "log"
    assert axes.get_xlim()[0] < min(run.low for run in of)


def test_speedups_are_over_the_own_counterpart(study):
    axes = figures.speedup(study, "Net-2h").figure.axes[0]
    pairs = [("multicore", "serial"), ("fast-parallel", "fast-serial"), ("gemm", "gemm-serial"),
             ("hybrid", "native-serial")]  # fmt: skip
    wanted = [study.run("Net-2h", b, serial).seconds / study.run("Net-2h", b, name).seconds
              for name, serial in pairs for b in (128, 4096)]  # fmt: skip
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(wanted)
    slow, quick = study.run("Net-2h", 128, "serial"), study.run("Net-2h", 128, "multicore")
    ends = [tuple(line.get_xdata()) for line in axes.lines]
    assert pytest.approx((slow.low / quick.high, slow.high / quick.low)) in ends
    assert "vs Native, serial" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("kind", ["scaling", "loss"])
def test_names_beside_lines_do_not_lie_on_each_other(kind):
    drawing = getattr(figures, kind)(a_study(BATCHES), "Net-2h")
    drawing.figure.draw_without_rendering()
    # of the words alone, without the line to them
    boxes = [Text.get_window_extent(text) for text in drawing.figure.axes[0].texts]
    assert len(boxes) > 5
    middle = sorted((box.y0 + box.y1) / 2 for box in boxes)
    height = max(box.height for box in boxes)
    assert all(b - a > 0.75 * height for a, b in pairwise(middle))
    frame = drawing.figure.bbox
    assert all(box.x0 >= 0 and box.x1 <= frame.x1 for box in boxes)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="no such file"):
        report.write(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps({"schema": "other"}))
    with pytest.raises(ResultsError, match="schema must be"):
        report.write(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_without_matplotlib_one_line_says_what_to_install(folder):
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from schuss.study import report\n"
        f"report.write({str(folder)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environment()
    )
    assert done.stderr.splitlines()[-1].endswith("figures need matplotlib: pip install 'schuss[plot]'")
