#!/usr/bin/env bash
# Peak memory of a whole replay: 1 M and 10 M metric rows of 4,000 series through all shipped jobs
# into an archive. Fails if 10 M rows take a gibibyte or more.
#
#   cargo build --release && benches/memory.sh [ROWS…]
#
# The bulk data needs about 50 MB under $TMPDIR. FAULTLINE names another binary than the release
# build's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary="${FAULTLINE:-${CARGO_TARGET_DIR:-target}/release/faultline}"
if [ ! -x "$binary" ]; then
  printf '%s is missing: run cargo build --release\n' "$binary" >&2
  exit 2
fi
if [ "$#" -eq 0 ]; then set -- 1000000 10000000; fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# measure COMMAND...: prints seconds and peak resident MiB, as the kernel accounted them.
measure() {
  python3 - "$@" <<'PYTHON'
import os, subprocess, sys, time

started = time.monotonic()
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
if os.waitstatus_to_exitcode(status) != 0:
    sys.exit(f"{' '.join(sys.argv[1:])}: exit code {os.waitstatus_to_exitcode(status)}")
unit = 1 if sys.platform == "darwin" else 1024
print(f"{time.monotonic() - started:.1f} {usage.ru_maxrss * unit / 2**20:.0f}")
PYTHON
}

failed=0
printf '%12s %10s %12s %10s\n' rows seconds rows/s peak_MiB
for rows in "$@"; do
  outage="$scratch/outage-$rows"
  "$binary" generate "$outage" --bulk "$rows"
  figures=$(measure "$binary" replay "$outage" --archive "$scratch/archive-$rows")
  read -r seconds peak <<<"$figures"
  rate=$(awk -v rows="$rows" -v seconds="$seconds" 'BEGIN { printf "%.0f", rows / seconds }')
  printf '%12d %10s %12s %10s\n' "$rows" "$seconds" "$rate" "$peak"
  if [ "$peak" -ge 1024 ]; then failed=1; fi
  rm -rf "$outage" "$scratch/archive-$rows"
done
exit "$failed"
