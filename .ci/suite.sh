# Sourced by .ci/run: steps, and suites that repeat their failed tests once.

step() { printf '\n=== %s\n' "$*"; }

repeated_suites=0
repeated_tests=()

# suite VARIABLE TARGET ARGUMENTS: make TARGET. Many tests run against the clock, and this machine
# has other work: failed tests are listed and run once more, alone. That result counts.
# VARIABLE is the one by which TARGET takes arguments for pytest.
suite() {
  local variable=$1 target=$2 name
  shift 2
  make "$target" "$@" && return
  repeated_suites=$((repeated_suites + 1))
  step "failed first: make $target $*"
  while IFS= read -r name; do
    printf '  %s\n' "$name"
    repeated_tests+=("$name")
  done < <(last_failed)
  step "once more, alone: make $target $*"
  make "${target/#coverage/test}" "$@" "$variable=--last-failed"
}

# The tests that pytest noted as failed, one a line.
last_failed() {
  python3 - <<'P'
import json
from pathlib import Path

notes = Path(".pytest_cache/v/cache/lastfailed")
for name in json.loads(notes.read_text()) if notes.exists() else ():
    print(name)
P
}

# The closing line: a suite that passes only when repeated is worth a look.
summary() {
  step "repeated: $repeated_suites suites, ${#repeated_tests[@]} tests"
  ((${#repeated_tests[@]} == 0)) || printf '  %s\n' "${repeated_tests[@]}"
}
