# Every target sets itself up: a virtual environment in .venv, what it needs from PyPI, the CRT in the user's cache folder.
#
#   build   the extension, incrementally, into src/cumulo; .venv imports the package from there
#   demo    a real S3 server on loopback, real COGs, what moved and how fast
#   test    the test suite                      (PYTEST="-k queue -x" passes options; "-n 0" for one process)
#   lint    ruff, pyright, mypy, cython-lint, and the engine with warnings as errors
#   bench   cumulo against its peers            (BENCH="--help" passes options)
#   debug   assertions and counters in build/debug; the engine's C tests under sanitizers; the suite on that build
#   docs    the documentation into build/site
#   clean   all of the above away, but for the CRT in the cache
#
# PYTHON=python3.12 chooses the interpreter of a new .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
CMAKE := $(BIN)/cmake
# One build at a time in a build folder, where there is a tool to say so.
LOCK := $(if $(shell command -v flock),flock build/.lock,)

PYTEST ?=
BENCH ?=

# pip's and the CRT's caches belong to the user; everything else that is made stays in the checkout.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# The environment's programs find each other: cython-lint runs pycodestyle, the suite the servers it starts.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := build
.PHONY: build demo test lint bench debug docs clean native native-debug native-tests lint-engine

# --- the environment -------------------------------------------------------------------------------------------------

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

# One stamp a dependency group: pip runs again only when pyproject.toml has changed.
$(STAMPS)/group-%: pyproject.toml $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet --group $*
	touch $@

# The package itself, as a path to src/: metadata, entry points and extras. The extension is `native`'s business.
$(STAMPS)/package: pyproject.toml $(STAMPS)/group-build
	$(BIN)/python -m pip install --quiet --no-build-isolation \
	  --config-settings=editable.mode=inplace --config-settings=wheel.cmake=false \
	  --editable '.[cli,gcs,azure,arrow,boto3]'
	@# A plain path instead of the installer's import hook, which would come before PYTHONPATH and hide the debug build.
	@for hook in $(VENV)/lib/python*/site-packages/_editable_skbc_cumulo.pth; do echo '$(CURDIR)/src' > $$hook; done
	touch $@

# --- the extension ---------------------------------------------------------------------------------------------------

# Configures a build folder once; ninja reruns CMake by itself when a CMake file changes.
define configure
	mkdir -p build
	test -f build/$(1)/build.ninja || $(LOCK) $(CMAKE) -S . -B build/$(1) -G Ninja --log-level=STATUS \
	  -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
	  -DPython_FIND_VIRTUALENV=ONLY $(2)
endef

native: $(STAMPS)/group-build
	$(call configure,release,-DCMAKE_BUILD_TYPE=Release)
	$(LOCK) $(CMAKE) --build build/release --target _native
	@# By rename: a process that has the old file mapped keeps it.
	@for built in build/release/_native*.so; do \
	  placed=src/cumulo/$${built##*/}; \
	  cmp -s $$built $$placed || { cp $$built $$placed.new && mv $$placed.new $$placed; }; \
	done

build: native $(STAMPS)/package

# --- what to do with it ----------------------------------------------------------------------------------------------

demo: build $(STAMPS)/group-demo
	$(BIN)/python -m demo

test: build $(STAMPS)/group-test
	@# Much of the suite waits: two processes, each with servers of its own. A file's tests stay together.
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST)

lint: $(STAMPS)/group-lint $(STAMPS)/group-test $(STAMPS)/package lint-engine
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cython-lint extension
	$(BIN)/pyright
	$(BIN)/mypy

lint-engine: $(STAMPS)/group-build
	$(call configure,release,-DCMAKE_BUILD_TYPE=Release)
	$(LOCK) $(CMAKE) --build build/release --target engine_lint

bench: build $(STAMPS)/group-bench
	$(BIN)/python -m benchmarks $(BENCH)

docs: build $(STAMPS)/group-docs
	$(BIN)/python -m mkdocs build --strict --site-dir build/site

# --- debugging -------------------------------------------------------------------------------------------------------

native-debug: $(STAMPS)/group-build
	$(call configure,debug,-DCMAKE_BUILD_TYPE=Debug -DCUMULO_DEBUG=ON -DCUMULO_WERROR=ON)
	$(LOCK) $(CMAKE) --build build/debug --target _native
	@# The package as links beside the debug extension, to be put first on PYTHONPATH.
	@rm -rf build/debug/site && mkdir -p build/debug/site/cumulo
	@for name in src/cumulo/*; do \
	  case $$name in *.so|*/__pycache__) ;; *) ln -s $(CURDIR)/$$name build/debug/site/cumulo/ ;; esac; \
	done
	@cp build/debug/_native*.so build/debug/site/cumulo/

NATIVE_TESTS := -DCMAKE_BUILD_TYPE=Debug -DCUMULO_DEBUG=ON -DCUMULO_WERROR=ON \
  -DCUMULO_NATIVE_TESTS=ON -DCUMULO_EXTENSION=OFF

native-tests: $(STAMPS)/group-build
	$(call configure,asan,$(NATIVE_TESTS) -DCUMULO_SANITIZE=address)
	$(call configure,tsan,$(NATIVE_TESTS) -DCUMULO_SANITIZE=thread)
	$(LOCK) $(CMAKE) --build build/asan
	$(BIN)/ctest --test-dir build/asan --output-on-failure --no-tests=ignore
	$(LOCK) $(CMAKE) --build build/tsan
	$(BIN)/ctest --test-dir build/tsan --output-on-failure --no-tests=ignore

debug: native-tests native-debug $(STAMPS)/package $(STAMPS)/group-test
	PYTHONPATH=$(CURDIR)/build/debug/site $(BIN)/python -X dev -m pytest $(PYTEST)

clean:
	rm -rf build dist $(VENV) src/cumulo/_native*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
