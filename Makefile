# PYTHON makes the virtual environment, VENV is where it lies: make test PYTHON=python3.12 VENV=/tmp/env
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Where the demo works, and how many pairs of the built-in world it draws.
DEMO_OUT ?= runs/demo
DEMO_PAIRS ?= 10000

# make reproduce: smoke, cpu, gpu or cc3m, and where it works. JOBS: commands side by side (default: the cores, with a
# GPU 1). Of cc3m: DATA, the shards; BENCHMARKS="NAME=PATH ..."; MODEL; RUN=1 to begin and not only to check.
PRESET ?= cpu
OUT ?= runs/reproduce$(if $(filter-out cpu,$(PRESET)),-$(PRESET))
REPRODUCE = $(if $(JOBS),--jobs $(JOBS)) $(if $(DATA),--data '$(DATA)') $(if $(MODEL),--model '$(MODEL)') \
	$(if $(BENCHMARKS),--benchmarks '$(BENCHMARKS)') $(if $(RUN),--run)

.PHONY: install demo docs test test-all lint reproduce
.DEFAULT_GOAL := install

install: $(STAMP)

# pip checks hashes for a whole file or not at all, so the pipeline goes first, by itself.
$(STAMP): pyproject.toml constraints.txt requirements-pipeline.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; choose one: make install PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements-pipeline.txt
	@echo "Installing with the versions of constraints.txt: several gigabytes, which can take minutes."
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	touch $@

# From nothing to a report: needs no data and no weights but what the package brings.
demo: $(STAMP)
	$(BIN)/cocu data miniature --out $(DEMO_OUT)/pairs --pairs $(DEMO_PAIRS) --seed 1
	$(BIN)/cocu index build $(DEMO_OUT)/pairs --model miniature --out $(DEMO_OUT)/index
	$(BIN)/cocu curate run $(DEMO_OUT)/index --out $(DEMO_OUT)/curated
	$(BIN)/cocu curate report $(DEMO_OUT)/curated --out $(DEMO_OUT)/report.html
	$(BIN)/cocu curate score $(DEMO_OUT)/curated --truth $(DEMO_OUT)/pairs/truth.parquet --synonyms $(DEMO_OUT)/pairs/synonyms.json
	@echo "The report: $(abspath $(DEMO_OUT)/report.html)"

# Files of tests run so many side by side; each is of one thread, so that sums and times are the same on any machine.
TEST_JOBS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile

test: $(STAMP)
	$(PYTEST)

# New examples each time, ten times as many (tests/conftest.py), and ten times as long for each test.
test-all: $(STAMP)
	$(PYTEST) -m '' --hypothesis-profile=search --timeout=1200

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages as a site, to be read from the disk or served; a broken link fails. Nothing is fetched.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "The pages: $(abspath build/site/index.html)"

# The paper's claim, measured: draws, curates, trains and measures, and goes on where it stopped (benchmarks/reproduce).
reproduce: $(STAMP)
	$(BIN)/python -m benchmarks.reproduce --preset $(PRESET) --out $(OUT) $(strip $(REPRODUCE))
