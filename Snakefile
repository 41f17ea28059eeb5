# The book's pipeline: execute -> assemble -> figures, scoreboard -> book -> verdicts.
#
#   snakemake --cores all                              the whole book
#   snakemake --cores all execute                      the runs only
#   snakemake --cores all --config profile=gpu execute the runs of the gpu profile, one job a device
#
# A run is redone when its order changes, and an order changes when the run's fingerprint does (reprise.press.orders);
# dates of notebooks and modules do not matter. Sweeps place their own orders and ask for their runs by name.
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "lib"))
from reprise import paths
from reprise.press import figures, orders

PROFILE = config.get("profile", "ci")
BUILD = str(paths.build())
EXECUTED = f"{BUILD}/executed/{PROFILE}"
CARDS = orders.place_all(PROFILE)
PYTHON = f"PYTHONPATH={workflow.basedir}/lib {sys.executable} -m"


def cores(wildcards):
    """Notebooks that measure wall time ask on their card for cores of their own."""
    return CARDS[orders.read(Path(f"{wildcards.run}.order")).slug].cores


localrules: execute, assemble, pages, figure, figures, scoreboard, reference, book, verdicts


wildcard_constraints:
    slug="[a-z0-9-]+",
    run=f"{re.escape(BUILD)}/.+",


rule execute:
    input: expand(f"{EXECUTED}/{{slug}}.json", slug=CARDS)


rule run:
    input: "{run}.order"
    output: "{run}.ipynb", "{run}.json"
    threads: cores
    resources:
        gpu=int(PROFILE == "gpu")
    shell: "{PYTHON} reprise.press.execute {input:q}"


rule assemble:
    input:
        run=multiext(f"{BUILD}/executed/ci/{{slug}}", ".ipynb", ".json"),
        source=lambda wildcards: CARDS[wildcards.slug].notebook,
        card=lambda wildcards: CARDS[wildcards.slug].path,
        recorded=lambda wildcards: sorted(Path("results").glob(f"*/{wildcards.slug}.json")),
        machinery="lib/reprise/press/assemble.py",
    output: multiext("book/papers/{slug}", ".ipynb", ".py", ".yaml")
    shell: "{PYTHON} reprise.press.assemble {wildcards.slug}"


rule pages:
    input: expand("book/papers/{slug}.ipynb", slug=CARDS)


rule figure:
    input: "book/papers/{slug}.ipynb", "lib/reprise/press/figures.py"
    output: "book/_generated/figures/{slug}.svg"
    shell: "{PYTHON} reprise.press.figures {wildcards.slug}"


rule figures:
    input: expand("book/_generated/figures/{slug}.svg", slug=figures.wanted(Path("book")))


rule scoreboard:
    input:
        expand(f"{BUILD}/executed/ci/{{slug}}.json", slug=CARDS),
        [card.path for card in CARDS.values()],
        sorted(Path("results").glob("*/*.json")),
        sorted(Path("tests/benchmarks/recorded").glob("*.json")),
        "notebooks/catalogue.yaml",
        expand("lib/reprise/press/{module}.py", module=["scoreboard", "catalogue", "overview", "performance"]),
    output:
        "book/scoreboard.md",
        "book/catalogue.md",
        "book/performance.md",
        "book/_generated/totals.md",
        multiext("book/_generated/claims", ".svg", "-narrow.svg"),
    shell: "{PYTHON} reprise.press.scoreboard"


rule reference:
    input: sorted(Path("lib").rglob("*.py"))
    output: "book/api/index.md"
    shell: "{PYTHON} reprise.press.reference && touch {output}"


rule book:
    input:
        rules.pages.input,
        rules.figures.input,
        rules.scoreboard.output,
        rules.reference.output,
        sorted(p for p in Path("book").rglob("*") if p.is_file() and not {"papers", "_generated", "api"} & set(p.parts)),
        "_config.yml",
        "_toc.yml",
    output: f"{BUILD}/bound"
    shell: "{PYTHON} reprise.press.bind && touch {output:q}"


rule verdicts:
    default_target: True
    input: rules.book.output
    shell: "{PYTHON} reprise.press.verdicts"
