# PYTHON makes the virtual environment, VENV is where it lies: make test PYTHON=python3.12 VENV=/tmp/env
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# What the demo runs on; set both to run it on shards and an encoder of your own.
DEMO_DATA ?= ../shared/data/flickr8k/dev-00000.tar
DEMO_MODEL ?= local-dir:../shared/clip/photos
DEMO_OUT ?= runs/demo

.PHONY: install demo demo-data test test-all lint reproduce
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

# Before the installation, which takes gigabytes: is there anything to show?
demo-data:
	@test -e '$(DEMO_DATA)' || { \
	  echo "make demo: there is no $(DEMO_DATA), and this version brings no pictures of its own."; \
	  echo "Run it on your own WebDataset shard and an encoder that open_clip can load:"; \
	  echo "    make demo DEMO_DATA=path/to/shard-00000.tar DEMO_MODEL=ViT-B-16"; \
	  exit 1; } >&2

demo: export HF_HUB_OFFLINE = $(if $(filter local-dir:%,$(DEMO_MODEL)),1,0)
demo: demo-data $(STAMP)
	$(BIN)/cocu index build '$(DEMO_DATA)' --model '$(DEMO_MODEL)' --out $(DEMO_OUT)/index
	$(BIN)/cocu curate run $(DEMO_OUT)/index --out $(DEMO_OUT)/curated
	$(BIN)/cocu curate report $(DEMO_OUT)/curated --out $(DEMO_OUT)/report.html
	@echo "The report: $(abspath $(DEMO_OUT)/report.html)"

test: $(STAMP)
	$(BIN)/python -m pytest

test-all: $(STAMP)
	$(BIN)/python -m pytest -m ''

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

reproduce:
	@echo "make reproduce: the trainer and the evaluator are missing from this version, so there are" >&2
	@echo "no trained checkpoints and no segmentation figures to reproduce. It arrives with the trainer." >&2
	@exit 1
