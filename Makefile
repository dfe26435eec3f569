# Every target works on a fresh checkout; `make` alone lists them.

PYTHON ?= python3
SYSTEM_PYTHON ?= /usr/bin/python3
VENV := .venv
DEBIAN_VENV := .venv-debian
FUZZ_VENV := .venv-fuzz
ANSIBLE_VENV := .venv-ansible
FUZZ_SECONDS ?= 60
SEEDS ?= 20
REPOSITORY ?= dist/repository
SUITE ?= candidate
MINUTES ?= 60
DAYS ?= 30
# Most tests wait; eight at a time keep two cores busy.
PYTEST_ARGS ?= --numprocesses 8 --dist worksteal
SLOW_ARGS ?= --numprocesses 6 --dist worksteal
TEST_TOOLS := hypothesis pytest pytest-timeout pytest-xdist pyubx2 pyspartn pyrtcm pynmeagps amqtt trustme

.PHONY: help test coverage test-slow attack chaos test-debian fuzz faults bench fleet soak lint format demo picture recordings docs operability failover deb repository boot-test boot-test-qemu upgrade-test rollout-test arm-test clean
help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

$(VENV)/.ready: pyproject.toml
	@echo "once, some minutes: ztpd and the tools for its tests, in $(VENV) (250 MB) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --editable '.[test,lint,demo]'
	@touch $@

# The demo needs less than the tests, and takes their environment where it exists.
$(VENV)/.demo: pyproject.toml
	@[ $(VENV)/.ready -nt pyproject.toml ] || { \
	  echo "once, up to a minute: ztpd and the packages it needs, in $(VENV) (60 MB) ..."; \
	  $(PYTHON) -m venv $(VENV) && $(VENV)/bin/pip install --quiet --editable '.[demo]'; }
	@touch $@

# The run-time packages come from Debian, the test tools from the index.
$(DEBIAN_VENV)/.ready: pyproject.toml
	$(SYSTEM_PYTHON) -c 'import aiohttp, paho.mqtt, serial, tenacity, systemd' || { \
	  echo "install Debian's packages first: apt install python3-aiohttp python3-paho-mqtt" \
	    "python3-serial python3-systemd python3-tenacity python3-venv"; exit 1; }
	$(SYSTEM_PYTHON) -m venv --system-site-packages $(DEBIAN_VENV)
	$(DEBIAN_VENV)/bin/pip install --quiet $(TEST_TOOLS)
	touch $@

$(ANSIBLE_VENV)/.ready: Makefile
	@echo "once, some minutes: ansible and ansible-lint, in $(ANSIBLE_VENV) (800 MB) ..."
	@$(PYTHON) -m venv $(ANSIBLE_VENV)
	@$(ANSIBLE_VENV)/bin/pip install --quiet ansible ansible-lint
	@touch $@

test: $(VENV)/.ready  ## the tests, under three minutes
	$(VENV)/bin/pytest -q $(PYTEST_ARGS)

# From Python 3.12 on the interpreter itself counts lines, at little cost.
coverage: $(VENV)/.ready  ## the tests, and the lines of ztpd that they do not reach
	COVERAGE_CORE=$$($(VENV)/bin/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")') \
	  $(VENV)/bin/pytest -q $(PYTEST_ARGS) --cov=ztpd --cov-report=term:skip-covered

test-slow: $(VENV)/.ready  ## the tests that take long
	$(VENV)/bin/pytest -q -m slow --timeout 600 $(SLOW_ARGS)

attack: $(VENV)/.ready  ## hostile servers, devices and users against the daemon, with their cost
	ZTPD_ATTACK_TABLE=1 $(VENV)/bin/pytest -q -m "slow or not slow" $(SLOW_ARGS) tests/attack

chaos: $(VENV)/.ready  ## one to three faults at once, drawn from all there are; SEEDS=100
	ZTPD_CHAOS_SEEDS=$(SEEDS) $(VENV)/bin/pytest -q -m slow $(SLOW_ARGS) tests/e2e/test_chaos.py

test-debian: $(DEBIAN_VENV)/.ready  ## the tests on Debian's own python3 packages
	$(DEBIAN_VENV)/bin/python -m pytest -q $(PYTEST_ARGS)

fuzz:  ## the parsers against bytes of a fuzzer; FUZZ_SECONDS=60 for each
	@mkdir -p build && $(PYTHON) -m venv $(FUZZ_VENV)
	@$(FUZZ_VENV)/bin/pip install --quiet --only-binary :all: atheris || { \
	  echo "fuzz: skipped: there is no atheris for this Python on this machine"; exit 0; }; \
	for parser in ztp altered refusal frames ubx rtcm at ntrip recording; do \
	  echo "$$parser: $(FUZZ_SECONDS) s"; \
	  PYTHONPATH=. $(FUZZ_VENV)/bin/python -m tests.fuzz.fuzz \
	    $$parser build/fuzz/$$parser $(FUZZ_SECONDS) >build/fuzz.log 2>&1 \
	    || { tail -n 40 build/fuzz.log; exit 1; }; \
	  sed -n 's/^stat::\(number_of_executed_units\|peak_rss_mb\): */  \1 /p' build/fuzz.log; \
	done

faults: $(VENV)/.ready  ## the table of faults, each with its test results
	@$(VENV)/bin/python -m tools.faulttable

bench: $(VENV)/.ready  ## measure the promised figures, also beside other programs: half an hour
	@$(VENV)/bin/python -m bench $(ARGS)

fleet: $(VENV)/.ready  ## 100,000 gateways against one server, in simulated time: half a minute
	@$(VENV)/bin/python -m bench.fleet

soak: $(VENV)/.ready  ## what grows in MINUTES=60 of real time and DAYS=30 of virtual time
	@$(VENV)/bin/python -m bench.soak --minutes $(MINUTES) --days $(DAYS)

lint: $(VENV)/.ready  ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.ready  ## rewrite the code in the house style
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

demo: $(VENV)/.demo  ## the whole chain against simulators; ARGS="--once" and more
	@$(VENV)/bin/ztpd demo $(ARGS)

recordings: $(VENV)/.ready  ## the recordings of simulated faults, for the tests
	@$(VENV)/bin/python -m tests.support.recordings 2>/dev/null

picture: $(VENV)/.demo  ## the picture of the demo in README.md, drawn by a run of it
	@$(VENV)/bin/python -m tools.demopicture docs/demo.svg

docs: $(VENV)/.ready  ## files produced from the code: example configuration, references, diagram
	$(VENV)/bin/python -m tools.documents .

operability: $(VENV)/.ready  ## the diagnoses of twenty faults, for docs/operability.md
	$(VENV)/bin/python -m tests.operability.faults \
	  > docs/operability.md.new
	mv docs/operability.md.new docs/operability.md

failover: $(VENV)/.ready  ## a fail-over told, and a day with each fault, for docs/failover.md
	$(VENV)/bin/python -m tests.failover.page > docs/failover.md.new
	mv docs/failover.md.new docs/failover.md

deb:  ## the Debian package, in dist/
	packaging/build-deb dist

repository: deb  ## a signed APT repository, in dist/repository; REPOSITORY=directory SUITE=stable
	packaging/repository $(REPOSITORY) put $(SUITE) $$(ls dist/ztpd_*_all.deb)

# Without containers it fails, instead of skipping the check.
boot-test: $(VENV)/.ready deb  ## the package on a real systemd, Debian 12 and 13; as root
	ZTPD_DEB=$$(ls dist/ztpd_*_all.deb) $(VENV)/bin/pytest -v --timeout 900 $(BOOT_ARGS) \
	  tests/packaging/boot --ignore tests/packaging/boot/test_power.py \
	  --ignore tests/packaging/boot/upgrade --ignore tests/packaging/boot/rollout

boot-test-qemu: $(VENV)/.ready deb  ## late drivers, a wrong clock, power cuts, in a virtual machine; as root
	ZTPD_DEB=$$(ls dist/ztpd_*_all.deb) $(VENV)/bin/pytest -v --timeout 3600 $(BOOT_ARGS) \
	  tests/packaging/boot/test_power.py

upgrade-test: $(VENV)/.ready deb  ## purge, 0.1.0 to this version and back, Debian 12 to 13, in containers; as root
	ZTPD_DEB=$$(ls dist/ztpd_*_all.deb) $(VENV)/bin/pytest -v --timeout 1800 $(UPGRADE_ARGS) \
	  tests/packaging/boot/upgrade

rollout-test: $(VENV)/.ready $(ANSIBLE_VENV)/.ready deb  ## Debian's checks, the repository, in containers of Debian 12 and 13; as root
	ZTPD_DEB=$$(ls dist/ztpd_*_all.deb) $(VENV)/bin/pytest -v --timeout 1800 $(ROLLOUT_ARGS) \
	  tests/packaging/boot/rollout

# Other people's implementations that Debian lacks; they are pure Python.
ORACLES := pynmeagps pyrtcm pyspartn pyubx2

arm-test: $(VENV)/.ready deb  ## the package's parsers, store, clock and dates on armhf and arm64, emulated; as root
	rm -rf build/oracles && mkdir -p build/oracles
	cd $$($(VENV)/bin/python -c 'import pyubx2; print(pyubx2.__path__[0])')/.. && \
	  cp -r $(ORACLES) $(CURDIR)/build/oracles
	packaging/arm-test $$(ls dist/ztpd_*_all.deb) build/oracles $(ARM)

clean:  ## remove all built files
	rm -rf $(VENV) $(DEBIAN_VENV) $(FUZZ_VENV) $(ANSIBLE_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
