#!/bin/sh
# Trains several networks on a GPU under each tool of NVIDIA's compute-sanitizer, a line a tool.
#   tools/cuda_sanitize.sh [memcheck racecheck synccheck initcheck]    default: all four
# PYTHON (python3) is the Python that has schuss. Exit code: 0 nothing found, 1 something found, 2 something missing.
set -u

cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
tools=${*:-memcheck racecheck synccheck initcheck}
for tool in $tools; do
  case $tool in
    memcheck | racecheck | synccheck | initcheck) ;;
    *) echo "cuda_sanitize.sh: unknown tool '$tool'; known: memcheck, racecheck, synccheck, initcheck" >&2; exit 2 ;;
  esac
done

sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
if [ ! -x "$sanitizer" ]; then
  echo "cuda_sanitize.sh: compute-sanitizer is missing: it comes with the CUDA toolkit" >&2
  exit 2
fi
missing=$("$python" -c 'from schuss import cuda; print(cuda.why_not())' 2>&1) || {
  echo "cuda_sanitize.sh: $python has no schuss: $(echo "$missing" | tail -n 1)" >&2
  exit 2
}
if [ -n "$missing" ]; then
  echo "cuda_sanitize.sh: $missing" >&2
  exit 2
fi

log=$(mktemp "${TMPDIR:-/tmp}/schuss-sanitize.XXXXXX")
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$python" tools/cuda_trainings.py > "$log" 2>&1 || { # compiles the kernels, too
  cat "$log"
  echo "the trainings fail without a sanitizer" >&2
  exit 1
}
found=0
for tool in $tools; do
  begin=$(date +%s)
  "$sanitizer" --tool "$tool" --error-exitcode 9 "$python" tools/cuda_trainings.py > "$log" 2>&1
  code=$?
  took="$(($(date +%s) - begin)) s"
  if [ $code -eq 0 ] && grep -q "all trainings done" "$log"; then
    echo "$tool: nothing found ($took)"
  elif summary=$(grep "SUMMARY: [1-9]" "$log"); then
    found=1
    echo "$tool: $(echo "$summary" | tail -n 1 | sed 's/^=* *//') ($took); first:"
    grep "^=====" "$log" | grep -v "COMPUTE-SANITIZER\|SUMMARY" | head -n 12
  else
    found=1
    echo "$tool: did not run to its end, exit code $code ($took):"
    tail -n 5 "$log"
  fi
done
exit $found
