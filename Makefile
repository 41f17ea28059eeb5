# Two commands do all: `make book` and `make test`. Each prepares .venv when it is missing or out of date.
PYTHON ?= python3
CORES  ?= all
# What to install besides the book and the tests, e.g. `make book EXTRAS=cuda12`.
EXTRAS ?=

BIN   := .venv/bin
READY := .venv/ready
comma := ,

.PHONY: FORCE book test lab paper bench format clean help
.DEFAULT_GOAL := help

help: ## show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

$(READY): pyproject.toml constraints.txt $(if $(EXTRAS),FORCE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "reprise needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) --version 2>&1); try: make PYTHON=python3.12 ..."; exit 1; }
	@echo "preparing .venv (a few minutes the first time) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[book,test$(if $(EXTRAS),$(comma)$(EXTRAS))]'
	@touch $@

book: $(READY) ## execute what changed and build the book into build/html
	@echo "building the book: notebooks whose code changed are executed, then pages are bound (build/html/index.html)"
	@$(BIN)/snakemake --cores $(CORES)

test: $(READY) ## check the style and run the tests
	@echo "checking the style, then running the tests (a few minutes)"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/pytest -n 2 --dist loadfile

lab: $(READY) ## open JupyterLab; the .py notebooks open as notebooks
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[lab]'
	@mkdir -p .venv/share/jupyter/lab/settings
	@echo '{"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"python": "Jupytext Notebook"}}}' > .venv/share/jupyter/lab/settings/overrides.json
	@$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks $(LAB)

paper: $(READY) ## run one paper and print its verdicts: make paper NAME=sven
	@test -n "$(NAME)" || { echo "say which paper: make paper NAME=sven"; exit 2; }
	@$(BIN)/reprise run $(NAME)

bench: $(READY) ## measure speed as ratios against peers
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

format: $(READY) ## format the code
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean: ## remove everything generated but the environment
	rm -rf build .snakemake book/papers book/api book/_generated book/scoreboard.md book/catalogue.md book/performance.md
