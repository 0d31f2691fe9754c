"""stubs.py PACKAGES OUT: empty stand-ins for the CUDA libraries that PyTorch's wheel is linked to and that are absent.

The loader wants every library, every symbol version and, where a library is bound at once, every symbol. Each stand-in
defines what PyTorch's libraries ask of it as functions that trap: on a machine without a GPU nothing calls them.
"""
import collections
import pathlib
import re
import subprocess
import sys

CUDA_LIBRARY = r"lib(?:cu|nccl|nv)[^\]]*"
CUDA_SYMBOL = r"(?:nccl|curand|cusparseLt|cuFile|cu[A-Z])\w+"


def read(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def needs(library):
    """Sonames, {soname: versions}, {version: symbols}, symbols without a version."""
    sonames = set(re.findall(rf"NEEDED.*\[({CUDA_LIBRARY})\]", read("readelf", "-d", library)))
    versions, symbols, file = collections.defaultdict(set), collections.defaultdict(set), None
    for m in re.finditer(r"File: (\S+)|Name: (\S+)\s+Flags", read("readelf", "-VW", library)):
        if m[1]:
            file = m[1]
        else:
            versions[file].add(m[2])
    undefined = read("nm", "-D", "--undefined-only", library)
    for symbol, version in re.findall(r"^\s+U (\w+)@(\S+)", undefined, re.M):
        symbols[version].add(symbol)
    return sonames, versions, symbols, set(re.findall(rf"^\s+U ({CUDA_SYMBOL})$", undefined, re.M))


def build(soname, versions, symbols, plain, out):
    names = sorted(set().union(*(symbols[v] for v in versions)) if versions else plain)
    script = []
    if versions:
        map_file = out / "versions.map"
        map_file.write_text("".join(f"{v} {{ global: {' '.join(s + ';' for s in sorted(symbols[v]))} }};\n"
                                    for v in sorted(versions)))
        script = [f"-Wl,--version-script,{map_file}"]
    source = "".join(f"void {n}(void) {{ __builtin_trap(); }}\n" for n in names)
    subprocess.run(["cc", "-w", "-shared", "-fPIC", f"-Wl,-soname,{soname}", *script, "-xc", "-", "-o", out / soname],
                   input=source, text=True, check=True)


def main():
    packages, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    wanted, versions, symbols, plain = set(), collections.defaultdict(set), collections.defaultdict(set), set()
    for library in (packages / "torch/lib").glob("lib*torch*.so"):
        sonames, library_versions, library_symbols, library_plain = needs(library)
        wanted |= sonames
        plain |= library_plain
        for name, found in library_versions.items():
            versions[name] |= found
        for version, found in library_symbols.items():
            symbols[version] |= found
    for library in (packages / "torch/lib").glob("libc10*.so"):
        sonames, _, _, library_plain = needs(library)
        wanted |= sonames
        plain |= library_plain
    there = {p.name for p in packages.glob("nvidia/*/lib/*")}
    for soname in sorted(wanted - there):
        build(soname, versions[soname], symbols, plain, out)


main()
