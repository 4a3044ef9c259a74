# Everything a person or a machine does here, by name: `make help`.

PYTHON ?= $(shell command -v python3.11 || echo python3)
PIP_ARGS ?=
PYTEST_ARGS ?=
CORES ?= all
GPUS ?= 1

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
PIP_INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --dist worksteal
LISTING := src/segflow/recipes/presets/nnunet.yaml
WORKFLOW = $(wildcard Snakefile) workflow

export PATH := $(CURDIR)/$(BIN):$(PATH)
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all lint format docs clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile \
		| while IFS='|' read -r verb does; do printf '  make %-9s %s\n' "$$verb" "$$does"; done
	@echo "Settings: PYTHON=python3.11  CORES=4  GPUS=2  PIP_ARGS=...  PYTEST_ARGS='-k fold'"

demo: $(STAMP) demo/phantom/dataset.json ## Make a synthetic data set and run the whole pipeline on it (results in demo/results)
	@$(BIN)/snakemake --configfile config/demo.yaml --cores $(CORES) --resources gpu=$(GPUS)

test: lint ## Check style, types and imports, then run the tests of a few minutes
	@echo "== tests"
	@$(PYTEST) -n 2 -m "not slow and not exhaustive and not slurm and not peer and not gpu" $(PYTEST_ARGS)

test-all: $(STAMP) ## Run the long tests that `make test` leaves out: the whole tables, SLURM where it is installed
	@echo "== long tests"
	@$(PYTEST) -n 2 -m "slow and not exhaustive and not slurm and not peer and not gpu" $(PYTEST_ARGS)
	@echo "== slurm"
	@$(PYTEST) -m slurm tests/workflow tests/slurm $(PYTEST_ARGS)

lint: $(STAMP) ## Check style, types, imports and the workflow's format
	@echo "== style";    $(BIN)/ruff check && $(BIN)/ruff format --check
	@echo "== types";    $(BIN)/mypy
	@echo "== imports";  $(BIN)/lint-imports
	@echo "== workflow"; $(BIN)/snakefmt --check $(WORKFLOW)

format: $(STAMP) ## Format the code and the workflow, and write the listings of the recipe's values and of all errors anew
	@$(BIN)/ruff check --fix-only && $(BIN)/ruff format && $(BIN)/snakefmt $(WORKFLOW)
	@$(BIN)/python -c 'from segflow.recipes.listing import default_listing; print(default_listing(), end="")' > $(LISTING).new
	@mv $(LISTING).new $(LISTING)
	@$(BIN)/python tests/samples/error_page.py

docs: $(STAMP) ## Build the documentation as a site (build/site/index.html); warnings are errors
	@echo "== environment: documentation"; $(PIP_INSTALL) --group docs
	@$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs build/site
	@echo "build/site/index.html"

clean: ## Remove the demo and the tools' caches; keep .venv, results and .snakemake
	@rm -rf demo build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find src tests workflow benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

demo/phantom/dataset.json: | $(STAMP)
	@$(BIN)/segflow phantom demo/phantom --cases 12 --seed 0

# Every step may be repeated, so an attempt that failed half-way goes on where it stopped.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "segflow needs Python 3.11 or newer; name one with PYTHON=..."; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
		|| { echo "== environment: $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "== environment: pip";         $(PIP_INSTALL) pip
	@echo "== environment: torch";       $(PIP_INSTALL) "$$(grep '^torch==' constraints.txt)"
	@echo "== environment: segflow and its tools (a few minutes)"; $(PIP_INSTALL) -e '.[slurm]' --group dev
	@touch $@
