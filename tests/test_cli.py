"""The command line as a user meets it, in a project of its own."""

import json

import jupytext
import nbformat
import pytest

from reprise.claims import RECORD_MIME

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(shared_project):
    shared_project.add("sample")
    shared_project.add("other", part="beta", value="5.0")
    (shared_project.root / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nparts:\n- caption: x\n  chapters:\n  - file: parts/alpha\n"
        "    sections:\n    - file: papers/sample\n  - file: parts/beta\n"
    )
    (shared_project.root / "notebooks" / "catalogue.yaml").write_text(
        "parts:\n  - {id: alpha, title: Alpha}\n  - {id: beta, title: Beta}\n"
        "papers:\n  - {slug: planned, part: beta, title: 'A: plan', authors: [A B], year: 2021, arxiv: '2101.00001'}\n"
    )
    shared_project.reprise("run", "sample", "other", check=1)
    return shared_project


def test_run_prints_verdicts_and_exit_codes_follow_them(project):
    assert "small" in project.reprise("run", "sample", "-p", "seed", "7").stdout
    done = project.reprise("run", "sample", "-p", "scale", "4", check=1)
    assert "UNEXPECTED not-reproduced: small" in done.stdout


def test_runs_with_parameters_leave_the_books_run_alone(project):
    project.reprise("run", "sample", "-p", "seed", "9")
    run = json.loads((project.root / "build/executed/ci/sample.json").read_text())
    assert run["parameters"]["seed"] == 0


def test_list_as_json_is_the_last_build(project):
    papers = {paper["slug"]: paper for paper in json.loads(project.reprise("list", "--json").stdout)}
    sample, other = papers["sample"], papers["other"]
    assert sample["part"] == "alpha"
    assert sample["title"] == "Paper sample"
    assert sample["status"] == "ok"
    assert sample["seconds"] > 0
    assert sample["peak_mb"] > 0
    claim = sample["claims"][0]
    assert (claim["id"], claim["verdict"], claim["expected"]) == ("small", "reproduced", "reproduced")
    assert claim["value"] == pytest.approx(0.2)
    assert claim["criterion"] == {"at_most": 1.0}
    assert other["status"] == "unexpected"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "smaple"), "unknown paper 'smaple' (did you mean 'sample'?)"),
        (("run", "sample", "-p", "sise", "3"), "unknown parameter 'sise' (did you mean 'size'?)"),
        (("run", "sample", "-p", "size", "many"), "parameter 'size' takes a whole number such as 2, not 'many'"),
        (("run", "sample", "-p", "size"), "requires 2 arguments"),
        (("run", "sample", "--profile", "tpu"), "no profile 'tpu'"),
        (("list", "--part", "alhpa"), "unknown part 'alhpa' (did you mean 'alpha'?)"),
        (("lsit",), "No such command 'lsit'"),
        (("sweep", "sample", "-p", "size=a"), "takes a whole number"),
        (("compare", "build", "nowhere"), "no runs in 'nowhere'"),
        (("new", "9999.00001"), "give --slug, --part, --title as well"),
        (("new", "9999.00001", "--slug", "x", "--part", "gamma", "--title", "X"), "unknown part 'gamma'"),
    ],
)
def test_bad_calls_are_one_line_without_a_traceback(project, arguments, message):
    done = project.reprise(*arguments, check=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_broken_card_and_notebook_are_named(project):
    path = project.root / "notebooks" / "alpha" / "sample.yaml"
    good = path.read_text()
    path.write_text(good.replace("year: 2020", "year: soon"))
    assert "sample.yaml:5: year: must be a whole number" in project.reprise("list", check=2).stderr
    done = project.snakemake("execute", check=1)
    assert "sample.yaml:5: year: must be a whole number" in done.stdout + done.stderr
    path.write_text(good)


def test_sweep_leaves_a_table_and_a_figure_and_resumes(project):
    done = project.reprise("sweep", "sample", "-p", "size=1,20", "-p", "seed=0..1", check=1)
    folder = project.root / "build" / "sweeps" / "sample"
    rows = (folder / "size-seed.csv").read_text().splitlines()
    assert rows[0] == "size,seed,status,seconds,small,small:verdict"
    assert len(rows) == 5
    assert sum(row.endswith(",reproduced") for row in rows) == 2
    assert (folder / "size-seed.svg").stat().st_size > 1000
    assert "size=20, seed=1" in done.stdout
    dates = {path: path.stat().st_mtime_ns for path in (folder / "ci").glob("*.ipynb")}
    (folder / "ci" / "size=1,seed=0.json").unlink()
    project.reprise("sweep", "sample", "-p", "size=1,20", "-p", "seed=0..1", check=1)
    again = {path.name for path, date in dates.items() if path.stat().st_mtime_ns != date}
    assert again == {"size=1,seed=0.ipynb"}


def test_record_and_compare(project):
    project.reprise("run", "sample")
    assert "results/cpu/sample.json" in project.reprise("record", "sample").stdout
    assert "0 of 1 claims drifted" in project.reprise("compare", "cpu", "build").stdout
    project.reprise("run", "sample", "-p", "size", "4", "-o", "elsewhere")
    done = project.reprise("compare", "cpu", "elsewhere/sample.json", check=1)
    assert "1 of 1 claims drifted" in done.stdout
    project.reprise("compare", "cpu", "elsewhere/sample.ipynb", check=1)
    path = project.root / "notebooks" / "alpha" / "sample.py"
    path.write_text(path.read_text().replace("samples=[0.1, 0.2]", "samples=[0.1, 0.3]"))
    assert "older than its code" in project.reprise("record", "sample", check=2).stderr


def test_plain_papermill_works_and_its_output_holds_the_record(project):
    source = project.root / "notebooks" / "alpha" / "sample.py"
    jupytext.write(jupytext.read(source), project.root / "plain.ipynb")
    project.run("papermill", "plain.ipynb", "out.ipynb", "-p", "size", "3", "--no-progress-bar")
    outputs = [o for cell in nbformat.read(project.root / "out.ipynb", 4).cells for o in cell.get("outputs", [])]
    records = [output["data"][RECORD_MIME] for output in outputs if RECORD_MIME in output.get("data", {})]
    assert len(records) == 1
    assert records[0]["parameters"]["size"] == 3
    assert records[0]["fingerprint"]


def test_a_notebook_is_a_script(project):
    done = project.run("notebooks.alpha.sample", check=0)
    assert "✔ reproduced" in done.stdout


def test_new_begins_a_paper_from_the_catalogue(project):
    project.reprise("new", "2101.00001")
    card = (project.root / "notebooks" / "beta" / "planned.yaml").read_text()
    assert "title: 'A: plan'" in card
    toc = (project.root / "_toc.yml").read_text()
    assert toc.endswith("  - file: parts/beta\n    sections:\n      - file: papers/planned\n")
    assert "in the book already" in project.reprise("new", "planned", check=2).stderr
    # The skeleton runs, and its placeholder does not pass.
    assert "nan" in project.reprise("run", "planned", check=1).stdout
