# Each target sets up what it needs, in .venv; `make` alone lists them. PYTHON may name any Python >= 3.11.
PYTHON ?= python3
ART ?= build/art
BIN := .venv/bin
READY := .venv/ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs demo-assets

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

$(READY): pyproject.toml
	@echo "== setting up .venv (torch is large: some minutes the first time)"
	$(PYTHON) -c 'import sys; sys.exit("mllctl needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[cpu,dev]'
	@touch $(READY)

demo: $(READY)  ## build the demo hub with real models, compare it with the shipped one, select from it
	@echo "== labelling the demo models on the demo images, in build/demo-hub"
	$(BIN)/mllctl demo build build/demo-hub
	@echo "== selecting models for docs/classes.txt, images like flat icons"
	$(BIN)/mllctl select --hub build/demo-hub --classes docs/classes.txt --domain "flat icons" -k 2

test: $(READY)  ## run the tests
	$(BIN)/pytest

lint: $(READY)  ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## write docs/cli.md from --help
	$(BIN)/python docs/write_cli.py

demo-assets: $(READY)  ## draw the image pack and train the heads again (needs npm, apt and dpkg)
	$(PYTHON) -c 'import shutil, sys; sys.exit(next((f"demo-assets needs {t}" for t in ("npm", "apt-get", "dpkg-deb", "rsvg-convert") if not shutil.which(t)), 0))'
	bash assets/fetch $(ART)
	$(BIN)/python assets/wordnet.py $(ART)/deb/usr/share/wordnet
	$(BIN)/python assets/pack.py $(ART)
	$(BIN)/python assets/tasks.py
	$(BIN)/python assets/train.py
	$(BIN)/python assets/train_experts.py
	$(BIN)/python assets/bundle.py
