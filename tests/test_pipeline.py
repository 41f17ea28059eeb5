"""What is executed again and what is not, and what a failure leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest

pytestmark = pytest.mark.slow

FITS = "from reprise.statistics.fits import loglog_slope"
#: A module that reaches `reprise.errors` only through others.
INDIRECT = "from reprise.press import skeleton"


@pytest.fixture(scope="module")
def built(shared_project):
    shared_project.add("uses-fits", imports=FITS)
    shared_project.add("uses-loop", part="beta", imports="from reprise.training.loop import fit")
    shared_project.snakemake("pages")
    return shared_project


def executed_again(project, before):
    return {slug for slug, date in project.dates().items() if date != before.get(slug)}


def page(project, slug):
    return nbformat.read(project.root / "book" / "papers" / f"{slug}.ipynb", 4)


def test_nothing_changed_executes_nothing_and_is_quick(built):
    before, start = built.dates(), time.perf_counter()
    built.snakemake("pages")
    assert executed_again(built, before) == set()
    assert time.perf_counter() - start < 20


def test_prose_changes_the_page_and_executes_nothing(built):
    before = built.dates()
    path = built.root / "notebooks" / "alpha" / "uses-fits.py"
    path.write_text(path.read_text().replace("Prose.", "Better prose."))
    built.snakemake("pages")
    assert executed_again(built, before) == set()
    cells = page(built, "uses-fits").cells
    assert "Better prose." in cells[0].source
    assert any(cell.get("outputs") for cell in cells)


def test_a_library_module_executes_exactly_the_notebooks_that_import_it(built):
    before = built.dates()
    module = built.root / "lib" / "reprise" / "statistics" / "fits.py"
    module.write_text(module.read_text() + "\n# changed\n")
    built.snakemake("pages")
    assert executed_again(built, before) == {"uses-fits"}


def test_a_module_imported_indirectly_executes_its_users(built):
    before = built.dates()
    module = built.root / "lib" / "reprise" / "errors.py"  # imported by `reprise.claims` through others
    module.write_text(module.read_text() + "\n# changed\n")
    built.snakemake("pages")
    assert executed_again(built, before) == {"uses-fits", "uses-loop"}


def test_code_and_profile_decide_the_fingerprint_and_prose_of_the_card_does_not(built):
    before = built.dates()
    card = built.root / "notebooks" / "beta" / "uses-loop.yaml"
    card.write_text(card.read_text().replace("is small.", "is really small."))
    built.snakemake("pages")
    assert executed_again(built, before) == set()
    card.write_text(card.read_text().replace("at_most: 1.0", "at_most: 0.9"))
    built.snakemake("pages")
    assert executed_again(built, before) == {"uses-loop"}


def test_a_failing_notebook_leaves_the_others_and_a_page_with_its_traceback(project):
    project.add("good")
    project.add("bad", value="1 / 0")
    project.add("surprising", value="5.0")
    project.snakemake("pages")
    assert set(project.dates()) == {"good", "bad", "surprising"}
    text = json.dumps(page(project, "bad"))
    assert "reprise-failure" in text
    assert "ZeroDivisionError" in text
    done = project.run("reprise.press.verdicts", check=1)
    assert "bad: FAILED" in done.stdout
    assert "surprising: 0 of 1 claims reproduced, UNEXPECTED not-reproduced: small" in done.stdout
    assert "good:" not in done.stdout

    before = project.dates()
    project.snakemake("pages")  # a failure is tried again, the rest is not
    assert executed_again(project, before) == {"bad"}
    project.add("bad", value="0.5")
    project.add("surprising", value="0.5")
    project.snakemake("pages")
    assert "reprise-failure" not in json.dumps(page(project, "bad"))
    assert "Every verdict is as expected" in project.run("reprise.press.verdicts").stdout


def test_a_killed_build_resumes_without_repeating_finished_notebooks(project):
    project.add("a-quick")
    project.add("b-slow", imports="import time; time.sleep(0 if __import__('pathlib').Path('go').exists() else 600)")
    environment = os.environ | {"PYTHONPATH": str(project.root / "lib")}
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--", "execute"]
    build = subprocess.Popen(
        command, cwd=project.root, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.time() + 120
    while "a-quick" not in project.dates() and time.time() < deadline:
        time.sleep(0.2)
    os.killpg(build.pid, signal.SIGKILL)
    build.wait()
    before = project.dates()
    assert set(before) == {"a-quick"}
    (project.root / "go").touch()
    project.snakemake("execute")
    assert executed_again(project, before) == {"b-slow"}


def test_a_page_without_a_title_is_one_clear_line(project):
    path = project.add("untitled")
    path.write_text(path.read_text().replace("# # Paper untitled\n#\n", ""))
    done = project.snakemake("pages", check=1)
    assert "untitled.py: the first cell must open with the title, '# Paper untitled'" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_notebook_whose_kernel_dies_is_a_failure_with_a_page(project):
    project.add("dies", value="__import__('os')._exit(1)")
    project.snakemake("pages")
    assert "DeadKernelError" in json.dumps(page(project, "dies"))


def test_an_unreported_claim_fails_and_keeps_what_was_measured(project):
    path = project.add("forgetful")
    text = path.read_text()
    path.write_text(text.replace('paper.report("small", scale * size, samples=[0.1, 0.2])', "x = 1"))
    project.snakemake("pages")
    run = json.loads((project.root / "build/executed/ci/forgetful.json").read_text())
    assert run["status"] == "failed"
    assert "claims not reported: small" in run["error"]["text"]
    assert run["record"]["parameters"]["size"] == 2


def test_the_same_workflow_runs_through_a_batch_system(project):
    project.add("queued")
    # A batch system in one line: it takes a job script, runs it in the background, and prints an id.
    submit = project.root / "submit"
    submit.write_text('#!/bin/sh\necho "$@" >> submitted\nsh "$1" > job.log 2>&1 &\necho $!\n')
    submit.chmod(0o755)
    project.run(
        "snakemake", "--executor", "cluster-generic", "--cluster-generic-submit-cmd", "./submit", "--jobs", "2",
        "--latency-wait", "30", "--", "pages",
    )  # fmt: skip
    assert set(project.dates()) == {"queued"}
    assert (
        len((project.root / "submitted").read_text().splitlines()) == 1
    )  # the run; pages are made where it was called
    before = project.dates()
    project.snakemake("pages")
    assert executed_again(project, before) == set()
