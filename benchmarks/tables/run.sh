#!/bin/sh
# Everything that README.md tells, measured anew: JSON into results/, the tables into README.md.
# On two quiet cores about ten minutes. A first argument "small" tries all of it in a minute, into
# a folder of its own and without touching README.md.
set -eu
cd "$(dirname "$0")/../.."
cargo build --release --locked -p parareal-cli
parareal=${CARGO_TARGET_DIR:-target}/release/parareal
here=benchmarks/tables
results=$here/results
counts=1,3,6,12,18,24
deep="--depth 1001 --classes 100 --batch-size 4 --repetitions 5"
middle="--depth 164 --batch-size 32 --repetitions 5"
shallow="--depth 110 --batch-size 32 --repetitions 9"
if [ "${1:-}" = small ]; then
    results=$(mktemp -d)
    counts=1,3,6
    deep="--depth 56 --classes 100 --batch-size 2 --repetitions 3"
    middle="--depth 20 --batch-size 4 --repetitions 3"
    shallow="--depth 20 --batch-size 8 --repetitions 3"
fi
mkdir -p "$results"
bench() {
    name=$1
    shift
    echo "$name: parareal bench $*" >&2
    begun=$(date +%s)
    "$parareal" bench "$@" --json > "$results/$name.json"
    echo "parareal bench $*" > "$results/$name.command"
    echo "  $(($(date +%s) - begun)) s" >&2
}

# Tables 2 and 3 with the paper's settings, at its depth and at one that takes less time.
# shellcheck disable=SC2086
bench deep-paper $deep --coarse-unit basic --subnetworks "$counts"
# shellcheck disable=SC2086
bench middle-paper $middle --coarse-unit basic --subnetworks "$counts"
# The fastest settings.
# shellcheck disable=SC2086
bench deep-ours $deep --coarse-unit depthwise --cuts balanced --subnetworks "$counts"
# More settings for the predictions.
# shellcheck disable=SC2086
bench shallow-bottleneck $shallow --coarse-unit bottleneck --subnetworks 2,3,4,6
# shellcheck disable=SC2086
bench shallow-depthwise $shallow --coarse-unit depthwise --cuts balanced --subnetworks 2,3,4,6

{
    date -u +"Measured on %Y-%m-%d at commit $(git rev-parse --short HEAD), on"
    sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1
    echo "with $(nproc) cores"
} | tr '\n' ' ' > "$results/machine.txt"
if [ "${1:-}" = small ]; then
    python3 $here/tables.py "$results"
else
    python3 $here/tables.py "$results" $here/README.md
fi
