#!/usr/bin/env bash
# Compares all fixtures with what the references compute now, one after the other, and fails if one differs.
#
#     references/check.sh [PYTHON]        default: .venv/bin/python, with the three requirements files installed
set -uo pipefail
cd "$(dirname "$0")/.."
python="${1:-.venv/bin/python}"
failed=()
for reference in parareal_resnet parareal_ode resize trivial_augment; do
    echo "== references/$reference.py --check"
    "$python" "references/$reference.py" --check || failed+=("$reference")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "differences: ${failed[*]}" >&2
    exit 1
fi
echo "all references agree with their fixtures"
