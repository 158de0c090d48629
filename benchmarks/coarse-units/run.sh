#!/bin/sh
# Three kinds of coarse units over three seeds, everything else the same. Folders of runs go into the
# first argument, images come from the second. About two hours on one core.
set -eu
out=${1:?"a folder for the runs"}
images=${2:?"a folder with cifar-10 and mnist"}
cd "$(dirname "$0")/../.."
cargo build --release --locked -p parareal-cli
parareal=${CARGO_TARGET_DIR:-target}/release/parareal
one() { # data set, epochs, training images, kind, seed
    "$parareal" train --dataset "$1" --data-dir "$images" --depth 29 --subnetworks 3 --coarse-unit "$4" \
        --coarse-units 1 --batch-size 32 --learning-rate 0.05 --epochs "$2" --limit-train "$3" \
        --seed "$5" --workers 1 --threads 1 --output "$out/$1-$4-$5"
    last=$(printf '%s\n' "$out/$1-$4-$5/evaluations/"*.json | tail -n 1)
    error=$(sed 's/.*"test_error":\([0-9.]*\).*/\1/' "$last")
    echo "$1 $4 seed $5: test error $error"
}
for seed in 1 2 3; do
    for kind in basic depthwise bottleneck; do
        one cifar10 4 100000 "$kind" "$seed"
        one mnist 2 10000 "$kind" "$seed"
    done
done
for kind in basic depthwise bottleneck; do
    "$parareal" plan --depth 29 --subnetworks 3 --coarse-unit "$kind" --coarse-units 1
    "$parareal" bench --depth 29 --subnetworks 1,3 --coarse-unit "$kind" --coarse-units 1 --workers 1
done
