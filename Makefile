# `make` or `make help` lists what can be made.

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.10 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$python && break; done)
PIP_OPTIONS ?=
MODEL ?= nano
OUT ?= out/demo
RUN ?= runs/nano
GAMES ?= /usr/share/games

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: help install demo test test-full nano lint format clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{ printf "  make %-10s %s\n", $$1, $$2 }'
	@echo
	@echo "  PYTHON=...       the interpreter that makes $(VENV) (3.10 to 3.13; found: $(PYTHON))"
	@echo "  PIP_OPTIONS=...  handed to pip install, such as an index of CPU-only torch wheels"

install: $(READY) ## create .venv and install masklet into it, with the versions known to work together

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "masklet needs Python 3.10 to 3.13; none was found. Name one: make PYTHON=/path/to/python3"; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_OPTIONS) -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(READY) ## segment a picture and track a clip: make demo [MODEL=NAME-OR-FILE] [OUT=DIR]
	$(BIN)/masklet demo --model "$(MODEL)" --out "$(OUT)"

test: lint ## every check that takes less than ten minutes together
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-full: $(READY) ## the slower checks alone
	$(BIN)/python -m pytest -m full

# What is drawn is kept, and a run that was stopped is gone on with.
nano: $(READY) ## train nano from scratch, for a day: make nano DATA=DIR [RUN=DIR] [GAMES=DIR] (see docs/training.md)
	@test -n "$(DATA)" || { echo "name the folder that holds cats, fashion, coco and nuclei: make nano DATA=DIR"; exit 1; }
	$(BIN)/python tools/render_models.py --game $(GAMES)/0ad/mods/public/public.zip --out "$(RUN)-renders" --processes 2 \
		--vehicles $(GAMES)/torcs/cars $(addprefix $(GAMES)/flightgear/Models/,Maritime Transport Aircraft) \
		$(GAMES)/flightgear/AI/Aircraft $(GAMES)/flightgear/Models/Geometry
	$(BIN)/python tools/render_scenery.py --game $(GAMES)/0ad/mods/public/public.zip --out "$(RUN)-renders/places"
	if test -f "$(RUN)/state.pt"; then $(BIN)/torchrun --nproc-per-node 2 $(BIN)/masklet train resume "$(RUN)"; else \
		$(BIN)/torchrun --nproc-per-node 2 $(BIN)/masklet train nano --data "$(DATA)" --out "$(RUN)" \
			--font /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf --artwork /usr/share/openclipart/png \
			--stamps /usr/share/tuxpaint/stamps --renders "$(RUN)-renders"; fi

lint: $(READY) ## style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## sort imports and mend what can be mended
	$(BIN)/ruff check --fix .

clean: ## remove the environment, caches and what commands left behind
	rm -rf $(VENV) out build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
