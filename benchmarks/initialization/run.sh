#!/bin/bash
# Initial weights of a parareal network compared: those of the seed, of a serial run, the same after a
# distillation, and of a shallower serial run. Images come from the first argument (a folder with cifar-10), folders
# of runs go into the second one. About two hours on one quiet core. A run that was interrupted goes on where it
# stopped, and one whose result is in results/ is not repeated. PARAREAL names a binary to use instead of a build.
set -eu
images=${1:?"a folder with cifar-10"}
runs=${2:?"a folder for the runs"}
cd "$(dirname "$0")/../.."
here=benchmarks/initialization
mkdir -p "$runs" $here/results
if [ -z "${PARAREAL:-}" ]; then
    cargo build --release --workspace --locked --bin parareal
    PARAREAL=${CARGO_TARGET_DIR:-target}/release/parareal
fi
TIMEFORMAT='%U %S'

one() { # name, settings
    name=$1
    shift
    result=$here/results/$name.json
    if [ -e "$result" ]; then
        return
    fi
    if [ -e "$runs/$name/config.toml" ]; then
        set -- --resume
    else
        set -- --dataset cifar10 --data-dir "$images" --validation 0.15 --limit-test 0 --batch-size 32 \
            --learning-rate 0.05 --epochs 6 --workers 1 --threads 1 "$@"
    fi
    echo "$name: parareal train $*" >&2
    # Processor time is that of one worker with one thread, and hardly depends on what else the machine does.
    { time nice -n 10 "$PARAREAL" train "$@" --output "$runs/$name" 2>> "$runs/$name.log"; } 2>> "$runs/$name.time"
    python3 $here/table.py result "$runs/$name" "$runs/$name.time" > "$result.new"
    mv "$result.new" "$result"
}

cut="--depth 29 --subnetworks 3 --coarse-unit depthwise --coarse-units 4"
one serial-29 --depth 29 --subnetworks 1
# shellcheck disable=SC2086
one scratch $cut
# shellcheck disable=SC2086
one distilled $cut --init-from "$runs/serial-29" --distill 200
# shellcheck disable=SC2086
one from-serial $cut --init-from "$runs/serial-29"
one serial-20 --depth 20 --subnetworks 1
# shellcheck disable=SC2086
one nested $cut --init-from "$runs/serial-20"
# shellcheck disable=SC2086
one nested-distilled $cut --init-from "$runs/serial-20" --distill 200

python3 $here/table.py tables $here/results $here/README.md
cargo run --release --workspace --locked --bin mnist-curves -- $here/curves.svg "from scratch=$runs/scratch" \
    "serial run=$runs/from-serial" "serial run, distilled=$runs/distilled" "nested, distilled=$runs/nested-distilled"
