# `make demo` and `make test` start from nothing: they create .venv, install into it, and run.
# PYTHON=... chooses the interpreter that .venv is made with. OXILLAMA_DEBUG=1 builds with checks, see CONTRIBUTING.md.

PYTHON ?=
ARGS ?=
# Ends a test run that hangs; a sound one takes a quarter of this.
SESSION_SECONDS ?= 2700
VENV := .venv
CLIENTS := $(VENV)/clients
RAY := $(VENV)/ray
BUILD := build/dev
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --disable-pip-version-check
SOURCES := $(shell find oxillama/_core -name '*.pyx' -o -name '*.pxd' -o -name '*.[ch]')

.PHONY: help demo serve test test-slow test-clients test-ray test-browser test-real test-free-threading mutations soak lint format dev bench compare \
	sanitize neon neon-tests dist wheels docs clean distclean FORCE
.DELETE_ON_ERROR:

help:
	@echo 'make demo       install into .venv and watch the embedded model write a story'
	@echo 'make serve      the same for the HTTP server and its chat page (ARGS="model.gguf --port 8000")'
	@echo 'make test       install into .venv and run the tests (test-slow: the long ones)'
	@echo 'make test-clients  other libraries (langchain, litellm, lm-eval, inspect-ai, llm ...) against a server and in process'
	@echo 'make test-ray   replicas and data actors on a local Ray'
	@echo 'make test-browser  the chat page in Chromium (Debian: chromium); screenshots go to build/screenshots'
	@echo 'make test-free-threading  what threads may share, under an interpreter without a GIL (FREE=python3.14t)'
	@echo 'make test-real  real models (SmolLM2, Gemma 3), fetched into ~/.cache/oxillama or OXILLAMA_REAL_MODELS'
	@echo 'make lint       formatting, lint and types, as CI checks them (format: mend the formatting)'
	@echo 'make dev        (re)build the compiled code in place; Python sources are live'
	@echo 'make bench      prefill and decode speed (ARGS="model.gguf --profile", else the embedded model)'
	@echo 'make compare    the same beside llama.cpp (ARGS="model.gguf --peer-python PATH")'
	@echo 'make mutations  deliberate mistakes, each of which a test must see (ARGS="ring": those about it)'
	@echo 'make soak       10 minutes of random work, then a look at what is left (ARGS="--seconds 60")'
	@echo 'make sanitize   the tests of the compiled code under AddressSanitizer and UBSan'
	@echo 'make neon       compile the arm64 kernels with a cross compiler'
	@echo 'make neon-tests compile the kernels for arm64 and run their tests under qemu (Python 3.11; Debian: qemu-user-static)'
	@echo 'make wheels     a wheel for every Python at hand, repaired, and tried in a clean environment (ARGS="python3.13": that one)'
	@echo 'make dist       source distribution and wheel, into dist/'
	@echo 'make docs       the documentation site, into build/site; fails on a link to nothing'
	@echo 'make clean      remove what was built (distclean: .venv too)'

demo: dev $(VENV)/structured.stamp
	$(VENV)/bin/oxillama run --demo --raw -p "Once upon a time" $(ARGS)

serve: dev $(VENV)/server.stamp
	$(VENV)/bin/oxillama serve $(or $(ARGS),--demo)

test: dev $(VENV)/test.stamp
	$(PY) -m pytest --session-timeout=$(SESSION_SECONDS) $(ARGS)

test-slow: dev $(VENV)/test.stamp
	$(PY) -m pytest -m slow --timeout=3600 $(ARGS)

test-clients: dev $(VENV)/test.stamp $(CLIENTS)/stamp
	$(PY) -m pytest -m clients $(ARGS)
	$(CLIENTS)/bin/python -m pytest -W default -m clients tests/clients tests/integrations --ignore=tests/integrations/test_integrations.py $(ARGS)

test-ray: dev $(VENV)/test.stamp $(RAY)/stamp
	$(PY) -m pytest -m ray $(ARGS)

test-browser: dev $(VENV)/browser.stamp
	$(PY) -m pytest -m browser $(ARGS)
	@echo 'screenshots: build/screenshots'

# Without a network the tests of what is not there are skipped.
test-real: dev $(VENV)/test.stamp
	-$(PY) -m tools.real_models
	$(PY) -m pytest -m real $(ARGS)

# FREE=python3.14t names an interpreter without a GIL, which is built for in a copy under build/.
FREE ?= python3.14t
test-free-threading:
	tools/free_threading.sh $(FREE) $(ARGS)

mutations: dev $(VENV)/test.stamp
	$(PY) -m tools.mutations $(ARGS)

soak: dev $(VENV)/test.stamp
	$(PY) benchmarks/soak.py $(ARGS)

lint: dev $(VENV)/test.stamp $(VENV)/lint.stamp
	$(PY) -m ruff format --check
	$(PY) -m ruff check
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint oxillama
	! LC_ALL=C.UTF-8 grep -rnE --include='*.[ch]' '^.{121,}$$' oxillama tests tools
	$(PY) -m mypy
	$(PY) -m mypy.stubtest oxillama._core --mypy-config-file pyproject.toml --concise --ignore-missing-stub --ignore-disjoint-bases \
		--allowlist tools/stubtest_allowlist.txt --ignore-unused-allowlist

format: $(VENV)/lint.stamp
	$(PY) -m ruff format
	$(PY) -m ruff check --fix

bench: dev $(VENV)/bench.stamp
	$(VENV)/bin/oxillama bench $(or $(ARGS),--demo)

compare: dev $(VENV)/bench.stamp
	$(PY) benchmarks/compare.py $(or $(ARGS),oxillama/data/demo.gguf)

sanitize: $(VENV)/test.stamp
	tools/sanitize.sh $(PY) $(ARGS)

neon:
	tools/compile_neon.sh

neon-tests: $(VENV)/build.stamp
	tools/neon_tests.sh $(PY) $(ARGS)

wheels: $(VENV)/wheels.stamp
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m tools.wheels $(ARGS)

dist: $(VENV)/dist.stamp
	rm -rf dist
	$(PY) -m build --quiet

# Needs no network. Not -q: MkDocs counts only the warnings that it prints.
docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --clean

clean:
	find oxillama/_core -name '*.so' -delete
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean
	rm -rf $(VENV)

# Installation. A stamp is remade only when what it stands for has changed.

dev: $(BUILD)/dev.stamp

$(PY):
	@python=$$(sh tools/check_build_tools.sh $(PYTHON)) && echo "creating $(VENV) with $$python" && \
		"$$python" -m venv --clear $(VENV)
	$(INSTALL) --quiet --upgrade 'pip>=25.1'

$(VENV)/build.stamp $(VENV)/structured.stamp $(VENV)/server.stamp $(VENV)/test.stamp $(VENV)/browser.stamp $(VENV)/lint.stamp $(VENV)/bench.stamp $(VENV)/dist.stamp $(VENV)/docs.stamp $(VENV)/wheels.stamp: \
$(VENV)/%.stamp: pyproject.toml | $(PY)
	$(INSTALL) $(if $(wildcard $@),--quiet) --group $*
	@touch $@

$(CLIENTS)/stamp $(RAY)/stamp: $(VENV)/%/stamp: pyproject.toml | $(PY)
	$(PY) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check --quiet --upgrade 'pip>=25.1'
	$(@D)/bin/python -m pip install --disable-pip-version-check --quiet --group $*
	@touch $@

# The editable install compiles into $(BUILD)/lib, which is kept: only modules whose sources changed are compiled again.
$(BUILD)/dev.stamp: $(VENV)/build.stamp $(BUILD)/flags $(SOURCES)
	@printf '[build_ext]\nbuild_lib = $(BUILD)/lib\nbuild_temp = $(BUILD)/temp\nparallel = %s\n' \
		"$$(getconf _NPROCESSORS_ONLN)" > $(BUILD)/setup.cfg
	PYTHONWARNINGS=ignore DIST_EXTRA_CONFIG=$(BUILD)/setup.cfg $(INSTALL) $(if $(wildcard $@),--quiet) --no-build-isolation --editable .
	@touch $@

# What every compiled file depends on, none of which the build itself looks at: a change compiles everything again.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo "$(CURDIR) $$(cksum < setup.py) $$OXILLAMA_DEBUG $$OXILLAMA_SANITIZE $$CC $$CFLAGS" > $@.now
	@if cmp -s $@.now $@; then rm $@.now; else \
		rm -rf build/cython $(BUILD)/lib; find oxillama/_core -name '*.so' -delete; mv $@.now $@; fi
