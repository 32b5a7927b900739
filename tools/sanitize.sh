#!/bin/sh
# Builds the native core and its tests with a sanitizer, without Python, and runs the tests.
#   tools/sanitize.sh [address|thread|none]    address (the default) is AddressSanitizer with UBSan
set -eu

kind=${1:-address}
case $kind in
  address) sanitize=address,undefined ;;
  thread) sanitize=thread ;;
  none) sanitize= ;;
  *) echo "sanitize.sh: unknown sanitizer '$kind'; known: address, thread, none" >&2; exit 2 ;;
esac

source=$(cd "$(dirname "$0")/.." && pwd)
build=$(mktemp -d "${TMPDIR:-/tmp}/schuss-sanitize.XXXXXX")
trap 'rm -rf "$build"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

generator="Unix Makefiles"
if command -v ninja > /dev/null; then generator=Ninja; fi
jobs=$(getconf _NPROCESSORS_ONLN)

begin=$(date +%s)
cmake -S "$source" -B "$build" -G "$generator" -DSCHUSS_PYTHON=OFF -DSCHUSS_TESTS=ON \
  -DSANITIZE="$sanitize" > "$build/log" ||
  { cat "$build/log"; exit 1; }
cmake --build "$build" --parallel "$jobs" > "$build/log" 2>&1 || { cat "$build/log"; exit 1; }
built=$(date +%s)
echo "sanitize.sh: $kind: built in $((built - begin)) s"

# A stack trace and a failing exit for every finding.
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
(cd "$build" && ctest --output-on-failure --timeout 600)
echo "sanitize.sh: $kind: tests ran in $(($(date +%s) - built)) s"
