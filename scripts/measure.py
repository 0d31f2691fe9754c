"""What the measuring scripts share: running the command, its time and peak memory, this machine, tables."""
import datetime
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time

root = pathlib.Path(__file__).resolve().parent.parent


def fail(message):
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: error: {message}")


def run(command, **options):
    """Runs a command to its end; its standard error goes through unless captured."""
    done = subprocess.run([str(c) for c in command], **options)
    if done.returncode != 0:
        fail(f"'{' '.join(map(str, command))}' ended with exit code {done.returncode}")
    return done


def write_whole(path, text):
    """Should this be stopped meanwhile, what stood there before still does."""
    half = path.with_suffix(".half")
    half.write_text(text)
    half.replace(path)


def timed(command):
    """Seconds from process start to its end, and its peak memory in MB."""
    read, write = os.pipe()
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:  # a child per run: ru_maxrss of a process is the most it ever used
        os.close(read)
        code = subprocess.run([str(c) for c in command], stdout=subprocess.DEVNULL).returncode
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        os.write(write, f"{code} {peak}".encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        report = pipe.read()
    os.waitpid(pid, 0)
    seconds = time.perf_counter() - began
    code, peak = (int(x) for x in report.split())
    if code != 0:
        fail(f"'{' '.join(map(str, command))}' ended with exit code {code}")
    return seconds, peak / 1024


def enter_client_environment(bib):
    """Starts this script again in the Python environment that has grpcio and the stubs, unless it is there."""
    if os.environ.get("BIB_CLIENT_ENVIRONMENT"):
        return
    if packed := os.environ.get("BIB_PYTHON_PACKAGES"):  # scripts/gpu-check --pack: packages for this Python, and stubs
        return become_client(sys.executable, bib, [pathlib.Path(packed), pathlib.Path(packed) / "stubs"])
    found = run([root / "scripts/python-client"], capture_output=True, text=True,
                env={"BIB_PYTHON_CLIENT": str(bib.parent), **os.environ})
    folder = pathlib.Path(found.stdout.strip())
    become_client(folder / "bin/python", bib, [folder / "stubs"])


def become_client(python, bib, packages):
    paths = [*packages, root / "tests/serve", root / "scripts"]
    env = {**os.environ, "BIB_CLIENT_ENVIRONMENT": "1", "BIB_COMMAND": str(bib), "BIB_SOURCE": str(root),
           "GRPC_VERBOSITY": "NONE", "PYTHONPATH": ":".join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    os.execve(python, [str(python), *sys.argv], env)


def cpu_name(cpuinfo):
    """Virtual machines call CPUs of different generations by one name, without a number: these are told apart."""
    found = {key: re.search(rf"^{key}\s*:\s*(.+)$", cpuinfo, re.M) for key in ("model name", "cpu family", "model")}
    if not found["model name"]:
        return os.uname().machine
    name = found["model name"][1]
    if re.search(r"\d", name) or not (found["cpu family"] and found["model"]):
        return name
    return f"{name} (family {found['cpu family'][1]}, model {found['model'][1]})"


def machine(bib):
    info = json.loads(run([bib, "info", "--json"], capture_output=True, text=True).stdout)
    info["cpu"] = cpu_name(pathlib.Path("/proc/cpuinfo").read_text())
    info["cores"] = len(os.sched_getaffinity(0))
    return info


def slug(info):
    """The machine's name as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", (info.get("gpu") or info["cpu"]).lower()).strip("-")


def stamp(info):
    """Date, commit and machine: what every result carries. Results not yet committed do not make the tree dirty."""
    return {"date": datetime.date.today().isoformat(), "commit": os.environ.get("BIB_COMMIT") or commit(), "machine": info}


def commit():
    """The sources'. Of programs from elsewhere BIB_COMMIT says it (scripts/gpu-check)."""
    git = ["git", "-C", root]
    if not shutil.which("git"):
        return "unknown"
    name = subprocess.run([*git, "describe", "--always"], capture_output=True, text=True).stdout.strip() or "unknown"
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", ":!docs/results"], capture_output=True).returncode == 1
    return name + ("-dirty" if changed else "")


def where(info):
    return f"{info['cpu']}, {info['cores']} cores, {info['isa']} path" + (f"; {info['gpu']}" if info.get("gpu") else "")


def real_data():
    if "BIB_DATA" not in os.environ:
        fail("BIB_DATA is not set; it names the folder of the real corpora")
    return pathlib.Path(os.environ["BIB_DATA"])


def scores(bib, model, file, *flags):
    return json.loads(run([bib, "evaluate", model, file, "--json", *flags], capture_output=True, text=True).stdout)


def table(head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    line = lambda row: "| " + " | ".join(str(c).rjust(w) if i else str(c).ljust(w)
                                         for i, (c, w) in enumerate(zip(row, widths))) + " |"
    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def pretty(x):
    return f"{x:.1f} s" if x >= 10 else f"{x:.2f} s" if x >= 0.1 else f"{x * 1e3:.0f} ms"


def judged(value, limit, at_least=True):
    """A figure beside its bar."""
    if value is None or limit is None:
        return "" if limit is None else "not measured"
    return "met" if (value >= limit if at_least else value <= limit) else "MISSED"
