#!/bin/sh
# No code built for one instruction set may be linked into another: every symbol that the linker could share from an
# instruction set's object file must lie in that set's namespace. Checked as built for release and without optimization.
#   tools/check_isa_symbols.sh        CXX chooses the compiler
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
build=$(mktemp -d "${TMPDIR:-/tmp}/schuss-symbols.XXXXXX")
trap 'rm -rf "$build"' EXIT
trap 'exit 130' INT

cmake -S "$source" -B "$build" -G "Unix Makefiles" -DSCHUSS_PYTHON=OFF \
  -DCMAKE_EXPORT_COMPILE_COMMANDS=ON > "$build/log" ||
  { cat "$build/log"; exit 1; }

# compile_line <isa>: how CMake compiles that set's file; nothing where this processor's kind has no such set
compile_line() {
  sed -n 's/^ *"command": "\(.*kernels_'"$1"'\.cpp\)",*$/\1/p' "$build/compile_commands.json" | sed 's/\\"/"/g'
}

# symbols <object>: what it defines for others to see
symbols() { nm --defined-only --extern-only --demangle --format=posix "$1" | sed 's/ [A-Za-z] [0-9a-f ]*$//'; }

failed=0
for isa in avx2 avx512; do
  compile=$(compile_line $isa)
  if [ -z "$compile" ]; then echo "kernels_$isa.cpp: not part of this build"; continue; fi
  for level in O3 O2 O0; do
    object=$build/$isa-$level.o
    (cd "$build" && eval "$(echo "$compile" | sed "s| -o [^ ]*| -o $object|; s| -O[0-3]\>| -$level|g")")
    # DW.ref.* are pointers, not code
    stray=$(symbols "$object" | grep -v -e "schuss::$isa::" -e '^DW\.ref\.' || true)
    if [ -n "$stray" ]; then
      failed=1
      echo "kernels_$isa.cpp -$level: shared with other code:"
      echo "$stray" | sed 's/^/  /'
    else
      echo "kernels_$isa.cpp -$level: all $(symbols "$object" | wc -l) symbols in schuss::$isa"
    fi
  done
done
exit $failed
