"""Registers and spills of compiled kernels:

    python3 benchmarks/gpu/registers.py [--ptxas PTXAS] DIR

DIR holds the modules in PTX that the counting driver keeps there (COUNTING_DRIVER_MODULES). PTXAS is NVIDIA's assembler; the
package nvidia-cuda-nvcc of PyPI has one. Exits with code 1 if a kernel spills registers.
"""

import argparse
import collections
import pathlib
import re
import shutil
import subprocess
import sys

KERNEL = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads"
    r".*?Used (?P<registers>\d+) registers",
    re.DOTALL,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--ptxas", default="ptxas", metavar="PTXAS")
    parser.add_argument("--architecture", default="sm_90a", metavar="SM")
    arguments = parser.parse_args()
    if not shutil.which(arguments.ptxas):
        parser.error(f"{arguments.ptxas} not found; `pip download --no-deps nvidia-cuda-nvcc` has it in nvidia/cu13/bin")
    modules = sorted(arguments.folder.glob("*.ptx"))
    if not modules:
        parser.error(f"{arguments.folder} holds no modules (*.ptx)")
    kernels = {}
    for module in modules:
        command = [arguments.ptxas, f"-arch={arguments.architecture}", "-v", "-o", "/dev/null", module]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"error: {module}: {run.stderr.strip()}")
        for found in KERNEL.finditer(run.stderr):
            spilled = int(found["stores"]) + int(found["loads"])
            kernels[found["name"]] = (int(found["registers"]), spilled)
    if not kernels:
        sys.exit(f"error: {arguments.ptxas} -v reported no kernels that this script understands")
    kinds = collections.defaultdict(list)
    for name, found in kernels.items():
        # The name ends with a hash of what the kernel was compiled for.
        kinds[re.sub(r"(_[a-z]+_f32.*)?_[0-9a-f]{8}$", "", name)].append(found)
    print("| kernel | variants | registers | variants with spills |\n| --- | ---: | ---: | ---: |")
    for kind, found in sorted(kinds.items()):
        registers = [registers for registers, _ in found]
        spills = sum(spilled > 0 for _, spilled in found)
        print(f"| `{kind}` | {len(found)} | {min(registers)} to {max(registers)} | {spills} |")
    spilling = [name for name, (_, spilled) in kernels.items() if spilled]
    for name in spilling:
        print(f"{name} spills {kernels[name][1]} bytes", file=sys.stderr)
    sys.exit(1 if spilling else 0)


if __name__ == "__main__":
    main()
