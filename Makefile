# Every command of the project, for people and for CI alike. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

unexport PYTHONDONTWRITEBYTECODE # without byte code each process compiles all its libraries anew: seconds

PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
UV_VERSION := 0.13.9
BIN := .venv/bin
UV := $(BIN)/uv
SERVICES := shared gateway model-worker aggregator auth-service local offline client
SOURCES := $(addsuffix /src,$(SERVICES))
PROJECTS := $(addsuffix /pyproject.toml,$(SERVICES))
TESTS ?= tests

.PHONY: help
help: ## list every target
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | \
		awk -F'\t' '{ printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2 }'

# --- the platform ---------------------------------------------------------------------------------------------

.PHONY: run
run: .venv/ready ## the whole platform on this machine, in the foreground (PORT, BUNDLE, THORAX_* change it)
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory --silent web || \
		echo "The web page could not be built; the API works without it." >&2; fi
	@exec $(BIN)/thorax-local run

.PHONY: demo
demo: .venv/ready ## analyse an image on the running platform (IMAGE=samples/chest.png)
	@$(BIN)/thorax-local demo $(or $(IMAGE),samples/chest.png)

# --- dependencies ---------------------------------------------------------------------------------------------

.PHONY: install
install: .venv/ready ## create .venv from the hashed lock (done by itself where needed)

.venv/ready: requirements.lock $(PROJECTS)
	@test -n "$(PYTHON)" || { echo "Thorax needs Python 3.11 or newer, with venv; none was found." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock \
		$(if $(wildcard .venv/dev),requirements-dev.lock) $(if $(wildcard .venv/openvino),$(OPENVINO_LOCK))
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ./,$(SERVICES))
	@touch $@

OPENVINO_LOCK = model-worker/requirements-openvino.lock

.PHONY: openvino
openvino: .venv/openvino ## another engine for the networks, for CPUs with AMX (180 MB; used only where it is faster)

.venv/openvino: .venv/ready $(OPENVINO_LOCK)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r $(OPENVINO_LOCK)
	@touch $@

.venv/dev: .venv/ready requirements-dev.lock
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --no-annotate $(addprefix --no-emit-package thorax-,shared model-worker aggregator client) \
	--no-emit-package openvino-telemetry $(LOCK_FLAGS)

.PHONY: lock
lock: ## resolve all dependencies anew into the locks (universal, hashed, without host names)
	@test -x $(UV) || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv==$(UV_VERSION); }
	$(COMPILE) $(PROJECTS) requirements.in -o requirements.lock
	$(COMPILE) -c requirements.lock requirements-dev.in -o requirements-dev.lock
	$(COMPILE) -c requirements.lock model-worker/requirements-openvino.in -o $(OPENVINO_LOCK)
	$(UV) pip compile --quiet --python-version 3.12 --python-platform x86_64-manylinux_2_28 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate $(LOCK_FLAGS) -c requirements.lock \
		model-worker/requirements-gpu.in -o model-worker/requirements-gpu.lock

# --- checks ---------------------------------------------------------------------------------------------------

.PHONY: check
check: .venv/dev lint types imports k8s-check compose-check ## everything that is checked without running it

.PHONY: lint
lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: .venv/dev
	$(BIN)/mypy $(SOURCES)

.PHONY: imports
imports: .venv/dev
	$(BIN)/lint-imports

.PHONY: format
format: .venv/dev ## put the source into its one form
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

.PHONY: images
images: ## build the four images with buildah (BASE=debian: also their base, without a registry of images)
	bash k8s/images.sh

.PHONY: k8s-check
k8s-check: .venv/dev ## kustomize, strict Kubernetes and KEDA schemas, Dockerfiles
	$(BIN)/python k8s/check.py
	$(BIN)/hadolint --failure-threshold warning */Dockerfile

.PHONY: compose-check
compose-check: .venv/dev
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

# --- tests ----------------------------------------------------------------------------------------------------

WORKERS ?= 5# on two cores: most tests wait, for a process or for a time to pass
PYTEST = $(BIN)/pytest
SLOW = $(sort $(shell grep -rlE --include='*.py' '\bmark\.slow\b' $(TESTS)))# collecting the others costs half a minute

.PHONY: test
test: .venv/dev ## the tests, without the slow ones (TESTS=path for fewer)
	$(PYTEST) -n $(WORKERS) -m "not slow" $(TESTS)

.PHONY: test-all
test-all: test ## the tests, and then the slow ones: chaos, page, slow clients
	$(PYTEST) -n $(WORKERS) -m slow $(or $(SLOW),$(TESTS))

.PHONY: chaos
chaos: .venv/dev ## kill processes at random, for minutes: nothing may be lost or counted twice
	THORAX_CHAOS=long $(BIN)/pytest tests/chaos

# --- the page -------------------------------------------------------------------------------------------------

WEB_SOURCES = $(shell find web/src web/public samples -type f) web/index.html web/vite.config.ts web/tsconfig.json

.PHONY: web
web: web/dist/index.html ## build the page into web/dist (needs node 20; only when its sources changed)

web/node_modules/.ready: web/package-lock.json
	@command -v npm >/dev/null || { echo "The web page needs node 20 and npm. Install them, then run this again." >&2; exit 1; }
	@echo "Fetching what the page is built of (npm ci) ..."
	cd web && npm ci --silent
	@touch $@

web/dist/index.html: web/node_modules/.ready $(WEB_SOURCES)
	@echo "Building the page (web/dist); on a slow machine this takes minutes ..."
	cd web && npm run --silent build -- --logLevel warn
	@touch $@

.PHONY: web-api
web-api: .venv/ready web/node_modules/.ready ## write the types of the page's API client, from the services' OpenAPI
	$(BIN)/python web/openapi.py
	cd web && npm run --silent api

.PHONY: web-check
web-check: web/node_modules/.ready web-api ## types (against the services' OpenAPI), lint and import circles of the page
	cd web && npm run --silent types && npm run --silent lint

.PHONY: screenshots
screenshots: .venv/dev web ## every view of the page, both themes, two widths, into build/screenshots (needs chromium)
	THORAX_PAGE_BUNDLE=$(or $(BUNDLE),$(CURDIR)/models/default) \
		$(BIN)/pytest -q tests/e2e/test_page_views.py

# --- the rest -------------------------------------------------------------------------------------------------

.PHONY: bench
bench: .venv/dev ## measure speed and memory, with the machine's description
	$(BIN)/python benchmarks/throughput.py --bundle $(or $(BUNDLE),models/default)

.PHONY: bundle
bundle: .venv/ready ## build a bundle of all five full-size architectures with random weights (needs torch)
	$(MAKE) -C training bundle

.PHONY: training-env
training-env: ## the environment with torch for training and imports: build/training-venv
	$(MAKE) -C training training-env

.PHONY: assemble
assemble: .venv/ready ## fit bundles and checkpoints to labelled images, as one ensemble (MEMBERS= DATA= IMAGES= OUT=)
	$(MAKE) -C training assemble

.PHONY: bundle-check
bundle-check: .venv/ready ## open a bundle as a worker would, and hold it against its golden image (BUNDLE=models/default)
	$(BIN)/thorax bundle check $(or $(BUNDLE),models/default)

.PHONY: evaluate
evaluate: .venv/ready ## score a bundle on labelled images (DATA= IMAGES= OUT= [BUNDLE= PREDICTIONS=]); needs no torch
	$(MAKE) -C training evaluate

.PHONY: compose-secrets
compose-secrets: ## make the secret files that docker-compose.yml mounts (once; never in git)
	@bash k8s/make_secrets.sh secrets

.PHONY: clean
clean: ## forget caches and the environment (not the state in .thorax)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
