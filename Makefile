# Everything a fresh machine needs: Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# onnxruntime and onnxruntime-gpu provide the same module: one of them, by what the machine has.
ORT := $(if $(shell command -v nvidia-smi 2>/dev/null),gpu,cpu)
DATA ?= data

# Modules are compiled when they are first imported, and kept: each process would do it again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install serve demo test check slow faults browser fuzz benchmark openapi containers clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@echo "installing into $(VENV); the first time takes a few minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[$(ORT),embedded,train,demo,dev]'
	touch $@

serve: install  ## start everything; options through ARGS="--port 9000"
	@exec $(BIN)/innerloop serve $(ARGS)

demo: install  ## handwritten digits through a started or own server
	@exec $(BIN)/innerloop demo $(ARGS)

check: install  ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

test: check  ## what CI runs
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

slow: install  ## tests of a minute each
	$(BIN)/python -m pytest -m slow $(ARGS)

faults: install  ## kill -9 campaign: every process, many times
	$(BIN)/python -m pytest -m faults $(ARGS) tests/faults

browser: install  ## the page in Chromium, which the machine has
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[browser]'
	$(BIN)/python -m pytest -m browser $(ARGS) tests/browser

fuzz: install  ## 10,000 generated requests, every check; ARGS="--cases 50000 --seed 7"
	$(BIN)/python -m tests.fuzz.run $(ARGS)

benchmark: install  ## accuracy and latency through HTTP; Omniglot in DATA
	$(BIN)/python -m benchmarks.http_accuracy --data $(DATA)
	$(BIN)/python -m benchmarks.latency --data $(DATA)

openapi: install  ## write docs/openapi.json and docs/http-api.md anew
	$(BIN)/python -c "import json; from api.app import create_app; print(json.dumps(create_app().openapi(), indent=1))" > docs/openapi.json
	$(BIN)/python -m api.reference > docs/http-api.md

containers:  ## build, start, try and remove the containers; wants Docker with Compose
	docker/try.sh

clean:
	rm -rf $(VENV) build *.egg-info
