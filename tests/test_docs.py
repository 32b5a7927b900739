"""The user guide does what it shows: its examples run and print what stands below them, its links lead somewhere."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = DOCS / "guide"
BESIDE = [DOCS / "coming-from-scikit-learn.md", DOCS / "when-not-to-use.md"]
PAGES = {page.stem: page for page in [*sorted(GUIDE.glob("*.md")), *BESIDE]}

#: What a page's examples need beside what every installation has.
OPTIONAL = {
    "first-steps": ["pandas"],
    "stopping": ["matplotlib"],
    "inputs": ["pandas", "polars", "pyarrow"],
    "files": ["onnx", "onnxruntime"],
    "command-line": ["pandas", "pyarrow", "onnx"],
}

#: Times and speeds, which every machine has its own of: they are not compared.
MEASURED = re.compile(r"\b[\d.,e+-]+ (s|ms|us|GFLOP/s)\b")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, first line's number from 0, text, and what is said to be printed."""

    language: str
    line: int
    text: str
    printed: str = ""


def blocks(page):
    """The python and sh blocks of a page, each with the text block, if any, that comes next."""
    found = []
    lines = page.read_text().splitlines()
    at = 0
    while at < len(lines):
        opened = re.fullmatch(r"```(\w+)", lines[at])
        at += 1
        if not opened:
            assert not lines[at - 1].lstrip().startswith("```"), (
                f"{page.name}:{at}: a fence without a language"
            )
            continue
        end = lines.index("```", at)
        text = "".join(f"{line}\n" for line in lines[at:end])
        if opened[1] in ("python", "sh"):
            found.append(Block(opened[1], at, text))
        else:
            assert opened[1] == "text", f"{page.name}:{at}: {opened[1]}"
            assert found, f"{page.name}:{at}: the output of no block"
            assert not found[-1].printed, f"{page.name}:{at}: a second output"
            found[-1] = Block(found[-1].language, found[-1].line, found[-1].text, text)
        at = end + 1
    return found


def python(block, page, names):
    """What the block prints; errors show the page's own line."""
    code = compile("\n" * block.line + block.text, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, names)
    return out.getvalue()


def shell(block, page, environment):
    """What the block prints to stdout; it must succeed unless it says otherwise itself."""
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert run.returncode == 0, f"{page.name}:{block.line}: exit code {run.returncode}\n{run.stderr}"
    return run.stdout


def clean(text, tables=False):
    """Text without the blanks at the ends of its lines, and without what was measured; `tables`: nor what stands in a
    column or a row called seconds, whose cells may make columns wider."""
    lines, end = [], 0
    for line in text.strip().splitlines():
        line = MEASURED.sub(r"# \1", line.rstrip())
        if tables:
            if "seconds" in line.split() and not line.startswith("seconds"):
                end = line.index("seconds") + len("seconds")
            elif not line:
                end = 0
            elif end:
                line = re.sub(r"\S+$", "#", line[:end]) + line[end:]
            line = re.sub(" +", " ", re.sub(r"^seconds +\S+$", "seconds #", line))
        lines.append(line)
    return "\n".join(lines)


@pytest.fixture
def environment(tmp_path_factory):
    """With `schuss` on the path as this very package."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "schuss"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m schuss "$@"\n')
    command.chmod(0o755)
    search = [str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]
    return os.environ | {"PATH": os.pathsep.join(search), "NO_COLOR": "1", "COLUMNS": "100"}


@pytest.mark.parametrize("name", PAGES)
def test_examples_print_what_the_page_says(name, tmp_path, monkeypatch, environment):
    page = PAGES[name]
    for package in OPTIONAL.get(name, []):
        pytest.importorskip(package)
    with contextlib.suppress(ImportError):
        import matplotlib

        matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "python":
            printed = python(block, page, names)
        elif shutil.which("bash"):
            printed = shell(block, page, environment)
        else:
            continue
        tables = block.language == "sh"
        where = f"{page.name}:{block.line}\n{textwrap.indent(printed, '    ')}"
        assert clean(printed, tables) == clean(block.printed, tables), where


def anchors(page):
    """Addresses of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page = PAGES[name]
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_index_names_every_page():
    listed = set(re.findall(r"\]\(([\w./-]+\.md)\)", (GUIDE / "README.md").read_text()))
    assert {(GUIDE / link).resolve() for link in listed} >= {page.resolve() for page in PAGES.values()} - {
        (GUIDE / "README.md").resolve()
    }
