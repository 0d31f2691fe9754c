"""For scripts/gpu-check: programs with a limit to their time, and where they and their libraries lie."""
import ctypes
import functools
import glob
import json
import math
import os
import pathlib
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

from measure import commit, fail, root

SERVERS = ["bib-serve", "bib-client"]  # built where gRPC is installed
PROGRAMS = ["bib", "tests/parity_test", "tests/gemm_cuda_test", "tests/lstm_cuda_test", "tests/crf_cuda_test",
            "tests/together_cuda_test", "tests/repeat_test", "tests/run_all_test", "tests/train_parity_test",
            "tests/updater_test", "tests/values_test", "tests/devices_cuda_test", "bench/bib_grid",
            "bench/gpu_probe", "bench/ops_bench", "bench/model_bench"]
# What the driver and cuBLAS ask of the C library besides libc: all of it must be of the same one.
GLIBC = ["libdl.so.2", "libpthread.so.0", "librt.so.1"]


class Skipped(Exception):
    """A part that cannot run here, and why."""


class TimedOut(Skipped):
    """A program that did not answer."""


class Clock:
    """--minutes: when they are over nothing more is begun, and what runs is stopped."""
    end = math.inf

    @classmethod
    def over(cls):
        return time.monotonic() >= cls.end

    @classmethod
    def left(cls, limit):
        if cls.over():
            raise Skipped("the time of --minutes is over")
        return min(limit, cls.end - time.monotonic())


class Log:
    """gpu-check.log, to which programs may add as well."""
    path = pathlib.Path(os.devnull)

    @classmethod
    def add(cls, title, text):
        half = 200_000  # a test that prints without end must not make the file too large to be sent back
        text = text if len(text) <= 2 * half else f"{text[:half]}\n[...]\n{text[-half:]}"
        with cls.opened() as log:
            log.write(f"==== {title}\n{text}\n".encode())

    @classmethod
    def opened(cls):
        return open(cls.path, "ab")


def ends_with_us():
    """For the child: a GPU must not stay busy when this script is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def started(command, **options):
    return subprocess.Popen(command, preexec_fn=ends_with_us, start_new_session=True, **options)


def kill(process, patience=0):
    """With all of its children, after some seconds in which it may end by itself. One that hangs in the driver may
    outlive SIGKILL: it is left behind."""
    try:
        process.wait(timeout=patience)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        print(f"gpu-check: process {process.pid} does not end", file=sys.stderr)


def ended(command, limit, quiet=math.inf, **options):
    """(exit status, what it printed). The status is "stopped" where `limit` seconds were over, and "silent" where nothing
    was printed for `quiet`."""
    until = time.monotonic() + Clock.left(limit)
    process = started(command, **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options})
    out, status, heard, fed = b"", None, time.monotonic(), process.stdout is not None
    with selectors.DefaultSelector() as ready:
        if fed:
            ready.register(process.stdout, selectors.EVENT_READ)
        while status is None:
            now = time.monotonic()
            if now >= min(until, heard + quiet):
                status = process.poll()  # it may have ended, and a child of its own hold the pipe
                if status is None:
                    status = "stopped" if now >= until else "silent"
            elif not fed:
                try:
                    status = process.wait(timeout=until - now)
                except subprocess.TimeoutExpired:
                    pass
            elif ready.select(min(until, heard + quiet) - now):
                more = os.read(process.stdout.fileno(), 65536)
                out, heard, fed = out + more, time.monotonic(), bool(more)
    kill(process)
    if process.stdout:
        process.stdout.close()
    return status, out.decode(errors="replace")


class Worker:
    """A program that answers a line with a line. Where it ends, or does not answer in time, it is started anew for the
    next line."""

    def __init__(self, command, limit, greets_in=None):
        self.command, self.limit, self.greets_in, self.process = command, limit, greets_in, None
        self.greeting = self.start()

    def start(self):
        with Log.opened() as log:
            self.process = started(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        return self.answer(self.greets_in) if self.greets_in else None

    def answer(self, limit):
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            line = b""
            limit = Clock.left(limit)
            until = time.monotonic() + limit
            while not line.endswith(b"\n"):
                if not ready.select(max(0, until - time.monotonic())):
                    self.stop()
                    raise TimedOut(f"no answer in {limit:.0f} s")
                more = os.read(self.process.stdout.fileno(), 65536)
                if not more:
                    process = self.process
                    self.stop()
                    raise Skipped(f"'{pathlib.Path(self.command[-1]).name}' ended with {process.returncode}")
                line += more
        return line.decode(errors="replace").strip()

    def ask(self, line, limit=None):
        if self.process is None:
            self.start()
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says how it ended
        return self.answer(limit or self.limit)

    def stop(self):
        if self.process is None:
            return
        kill(self.process, 0.2)  # one that has closed its output is about to end, and says how
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        self.process = None


class Programs:
    """The built programs: a build tree, or a folder made by --pack, whose programs bring their libraries."""

    def __init__(self, folder):
        self.folder = folder
        self.packed = (folder / "lib/loader").exists()
        self.loader = "packed" if self.packed else "system"

    def command(self, name):
        program = self.folder / name
        if not program.exists():
            raise Skipped(f"{program} is not built")
        if not self.packed:
            return [str(program)]
        if self.loader == "packed":
            return [str(self.folder / "lib/loader"), "--library-path", f"{self.folder / 'lib'}:{driver_folders()}", str(program)]
        return ["env", f"LD_LIBRARY_PATH={self.without_glibc()}:{driver_folders()}", str(program)]

    def without_glibc(self):
        folder = self.folder / "lib-without-glibc"
        folder.mkdir(exist_ok=True)
        for library in (self.folder / "lib").iterdir():
            if library.name not in ("loader", "libc.so.6", "libm.so.6", *GLIBC) and not (folder / library.name).exists():
                (folder / library.name).symlink_to(library)
        return folder

    def one_file(self, name):
        """The program as a file that can be started without arguments before its own."""
        command = self.command(name)
        if len(command) == 1:
            return pathlib.Path(command[0])
        # bib looks for its servers beside what /proc names as its program, which is the loader.
        for at, program in [(self.folder / f"{name}.sh", name), *[(self.folder / "lib" / s, s) for s in SERVERS]]:
            if (self.folder / program).exists():
                at.write_text("#!/bin/sh\nexec " + " ".join(self.command(program)) + ' "$@"\n')
                at.chmod(0o755)
        return self.folder / f"{name}.sh"

    def sees(self):
        """(bib info --json as an object, or what it printed instead)."""
        status, out = ended([*self.command("bib"), "info", "--json"], 60)
        Log.add(f"bib info, {self.loader} loader: {status}", out)
        try:
            return json.loads(out[out.index("{"):])
        except ValueError:
            return {"cuda": False, "why": f"bib info: {status}: {out.strip()[-500:]}"}

    def preflight(self):
        """What bib sees of the GPU and loads for it. A driver may need a newer C library than the packed one: where bib
        sees no GPU, its own is left aside for this machine's."""
        found = self.sees()
        if not found["cuda"] and self.packed:
            print(f"gpu-check: bib sees no GPU: {found['why']}; trying this machine's loader and C library", file=sys.stderr)
            self.loader = "system"
            if not (again := self.sees())["cuda"]:
                print(f"gpu-check: nor so: {again['why']}", file=sys.stderr)
                self.loader = "packed"
            found = again if again["cuda"] else found
        about = {"loader": self.loader, **{k: found[k] for k in ("cuda", "gpu", "why", "isa", "threads") if k in found}}
        try:
            bib = Worker(self.command("bench/bib_grid"), 60)
            about["cublas"] = {"1.000": True, "0.000": False}.get(answer := bib.ask("cublas"), answer)
            about["libraries"] = libraries_of(bib.process)
            bib.stop()
        except Skipped as reason:
            about["cublas"] = str(reason)
        return about


def libraries_of(process):
    """Which files of the C library, the driver and cuBLAS a process has loaded."""
    try:
        maps = pathlib.Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return []
    return sorted(set(re.findall(r"/\S*/lib(?:c|cuda|cublas|cublasLt)\.so\S*", maps)))


@functools.cache
def driver_folders():
    """Where libcuda.so.1 lies: the driver's own library is never packed. In the order in which this machine looks for
    it, but for the older one of a compat package: that one comes last."""
    ldconfig = shutil.which("ldconfig", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    found = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, timeout=30).stdout if ldconfig else ""
    listed = [str(pathlib.Path(p).parent)
              for p in re.findall(r"lib(?:cuda|cublas|cublasLt)\.so\.\d+ \(libc6,x86-64[^)]*\) => (\S+)", found)]
    folders = [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), "/usr/local/nvidia/lib64", *listed,
               "/usr/local/cuda/lib64", *wheels(sys.executable)]
    return ":".join(sorted(dict.fromkeys(filter(None, folders)), key=lambda f: "compat" in f))


def wheels(python):
    """The folders of NVIDIA's libraries among a Python's packages: often the only cuBLAS of a machine with PyTorch."""
    where = subprocess.run([python, "-c", "import site; print(*site.getsitepackages(), site.getusersitepackages())"],
                           capture_output=True, text=True, timeout=30).stdout.split()
    return [f for packages in where for f in sorted(glob.glob(f"{packages}/nvidia/*/lib"))]


def pack(build, target, python):
    """Copies programs and every library they need but the driver's, stripped; and, where the servers are built, the
    packages and stubs of scripts/python-client for that version of Python. A folder, or an archive of it."""
    if target.name.endswith(".tar.xz"):
        with tempfile.TemporaryDirectory() as folder:
            inside = pathlib.Path(folder) / "gpu-pack"
            pack(build, inside, python)
            target.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(target, "w:xz") as archive:
                archive.add(inside, "gpu-pack")
        print(f"gpu-check: {target}: {target.stat().st_size / 2**20:.0f} MiB")
        return
    libraries = target / "lib"
    libraries.mkdir(parents=True, exist_ok=True)
    served = [name for name in SERVERS if (build / name).exists()]
    (target / "commit").write_text(commit())
    for name in PROGRAMS + served:
        source, to = build / name, target / name
        if not source.exists():
            fail(f"{source} is not built; run scripts/build with nvcc on the PATH")
        to.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["strip", "-o", to, source], check=True)
        for line in subprocess.run(["ldd", source], capture_output=True, text=True, check=True).stdout.splitlines():
            found = re.search(r"(\S+) => (/\S+)|^\s*(/\S*ld-linux\S*)", line)
            if found and found[3]:
                shutil.copy2(found[3], libraries / "loader")
            elif found:
                shutil.copy2(found[2], libraries / found[1])
                if found[1] == "libc.so.6":
                    for other in GLIBC:
                        shutil.copy2(pathlib.Path(found[2]).with_name(other), libraries / other)
    if served:
        client = pathlib.Path(subprocess.run([root / "scripts/python-client"], check=True, capture_output=True,
                                             text=True).stdout.strip())
        shutil.copytree(client / "stubs", target / "python/stubs", dirs_exist_ok=True)
        freeze = subprocess.run([client / "bin/pip", "freeze"], check=True, capture_output=True, text=True).stdout.split()
        platforms = [x for glibc in (17, 27, 28) for x in ("--platform", f"manylinux_2_{glibc}_x86_64")]
        subprocess.run([client / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--target",
                        target / "python", "--upgrade", "--no-deps", "--only-binary=:all:", "--python-version", python,
                        "--platform", "manylinux2014_x86_64", *platforms,
                        *[x for x in freeze if not x.startswith(("grpcio-tools", "setuptools"))]], check=True)
    size = sum(f.stat().st_size for f in target.rglob("*") if f.is_file()) / 2**20
    print(f"gpu-check: {target}: {len(PROGRAMS) + len(served)} programs, {size:.0f} MiB")


def unpacked(programs):
    """The folder of an archive that --pack made, beside it."""
    if not programs.name.endswith(".tar.xz"):
        return programs
    if not programs.exists():
        fail(f"{programs}: there is no such archive; --pack makes it")
    folder = programs.with_name(programs.name.removesuffix(".tar.xz"))
    with tarfile.open(programs) as archive:
        archive.extractall(folder)
    return folder / "gpu-pack"
