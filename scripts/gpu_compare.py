"""For scripts/gpu-check: bib's and PyTorch's times of the same rows, in turn, and the page of results."""
import json
import math
import re
import sys

from gpu_programs import Clock, Skipped, TimedOut, Worker
from measure import root, table

sys.path.insert(0, str(root / "bench/gpu"))
import rows  # noqa: E402

BROKEN_CUDA = re.compile("cuda|cudnn|cublas|captur|accelerator", re.I)  # in what PyTorch says


def torch_worker(args, limit):
    try:
        worker = Worker([args.python, str(root / "bench/gpu/torch_grid.py")], limit, greets_in=90)
        return worker, json.loads(worker.greeting)
    except (Skipped, ValueError, OSError) as reason:
        raise Skipped(f"{args.python} has no PyTorch that sees the GPU ({reason}; gpu-check.log may say more); name another "
                      "with --python") from None


class Comparison:
    """`found`: "rows" are {row: {"us": ..., "strict_us": ..., "torch": {variant: us or reason}}}, and "dropped" what was
    not asked any more and why: what twice gave no answer, or twice broke CUDA, costs the other rows no more time."""

    def __init__(self, programs, args, limits, names, with_torch, save):
        self.names, self.save, self.failures = names, save, {}
        self.found = {"rows": {}, "torch": None, "torch_missing": None, "dropped": {}}
        self.bib, self.torch = Worker(programs.command("bench/bib_grid"), limits["row"]), None
        if with_torch:
            try:
                self.torch, self.found["torch"] = torch_worker(args, limits["torch"])
            except Skipped as reason:
                self.found["torch_missing"] = str(reason)
                print(f"gpu-check: peers skipped: {reason}", file=sys.stderr)

    def run(self):
        """Every row's first figures before the choices, and what PyTorch compiles last. What goes into the parts."""
        all_rows = self.found["rows"]
        for name in self.names:
            if Clock.over():
                print(f"gpu-check: no time is left for rows from {name} on", file=sys.stderr)
                break
            all_rows[name] = {}
            self.ask_bib(name, rows.first(name))
            if Clock.over() and "us" not in all_rows[name]:  # cut off
                del all_rows[name]
                break
            self.ask_torch(name, lambda variant: "compiled" not in variant)
            print(f"gpu-check: {name}: {describe(all_rows[name])}", file=sys.stderr)
        left_out = self.names[len(all_rows):]
        for name in all_rows:
            self.ask_bib(name, rows.choices(name))
        for name in filter(rows.MODELS.__contains__, all_rows):
            self.ask_torch(name, lambda variant: "compiled" in variant)
        for worker in filter(None, (self.bib, self.torch)):
            worker.stop()
        errors = [name for name, found in all_rows.items() if "us" not in found]
        return {"rows": len(all_rows), "left_out": left_out, "without_a_time": errors, "ok": not errors}

    def ask_bib(self, name, questions):
        found = self.found["rows"][name]
        for key, line in questions.items():
            # One kernel that hangs must not cost other sizes their time; of a choice the others' are worth less.
            family = key if key in rows.CHOICES else f"{'/'.join(name.split('/')[:2])} {key}"
            if Clock.over():
                break
            if family in self.found["dropped"]:
                found[key + "_error"] = "not asked: " + self.found["dropped"][family]
                continue
            try:
                found[key] = float(answer := self.bib.ask(line))
            except Skipped as reason:
                found[key + "_error"] = str(reason)
                self.failed(family, line, reason)
            except ValueError:  # an error, after which CUDA may refuse everything
                found[key + "_error"] = answer.removeprefix("error ")
                self.bib.stop()
        self.save(self.found)

    def ask_torch(self, name, wanted):
        """Each variant by a line of its own, so that one that hangs or breaks CUDA costs no other."""
        if not self.torch or Clock.over():
            return
        all_rows = self.found["rows"]
        found = all_rows[name].setdefault("torch", {})
        try:
            variants = json.loads(self.torch.ask(name))
            if not isinstance(variants, list):
                found["all"] = variants
                variants = []
        except (Skipped, ValueError) as reason:
            found["all"] = str(reason)
            variants = []
        padded = all_rows.get(name.replace("ragged", "padded"), {}).get("torch", {}) if "ragged" in name else {}
        for variant in filter(wanted, variants):
            if "padded" in variant and variant in padded:  # the very same work
                found[variant] = padded[variant]
                continue
            family = f"PyTorch's {name.split('/')[0]}, {variant}"
            if Clock.over():
                break
            if family in self.found["dropped"]:
                found[variant] = "not asked: " + self.found["dropped"][family]
                continue
            try:
                limit = self.torch.limit * (2 if "compiled" in variant else 1)
                found[variant] = json.loads(self.torch.ask(f"{name} {variant}", limit))
            except (Skipped, ValueError) as reason:
                found[variant] = str(reason)
                self.failed(family, name, reason)
                continue
            if isinstance(found[variant], str) and BROKEN_CUDA.search(found[variant]):
                self.torch.stop()
                self.failed(family, name, found[variant])
        self.save(self.found)

    def failed(self, family, line, reason):
        if isinstance(reason, Skipped) and not isinstance(reason, TimedOut) or Clock.over():
            return  # it ended by itself, at once; or it was we who stopped it
        before = self.failures.setdefault(family, [])
        before.append(line)
        if len(before) == 2:
            self.found["dropped"][family] = f"failed in {' and '.join(before)}: {reason}"
            print(f"gpu-check: {family} is not asked any more: {self.found['dropped'][family]}", file=sys.stderr)


def times_of(found):
    return {k: v for k, v in found.get("torch", {}).items() if isinstance(v, float)}


def best_of(found):
    """(variant, microseconds) of PyTorch's fastest."""
    return min(times_of(found).items(), key=lambda kv: kv[1], default=(None, None))


def describe(found):
    variant, best = best_of(found)
    ours = f"{found['us']:.1f} us" if "us" in found else found.get("us_error", "")
    return ours + (f", PyTorch {best:.1f} us ({variant}): {best / found['us']:.1f}x" if best and "us" in found else "")


# ---- the page

def beside_torch(compare, add):
    add("\n## Beside PyTorch\n")
    torch = compare["torch"]
    add("Microseconds, medians, in turn in one run; bib in fast and in strict mode. PyTorch: the fastest of its variants"
        + (f" (torch {torch['torch']}, cuDNN {torch['cudnn']}).\n" if torch else ": " +
           (compare["torch_missing"] or "not asked for") + ".\n"))
    body, ratios = [], []
    for name, found in compare["rows"].items():
        show = lambda key: f"{found[key]:.1f}" if key in found else found.get(key + "_error", "")
        bar, _ = rows.bar(name)
        against = rows.bar_is_against(name)  # else the fastest
        peers = [best_of(found)]
        if against in times_of(found) and peers[0][0] != against:
            peers.insert(0, (against, found["torch"][against]))
        for variant, best in peers:
            ratio = best / found["us"] if best and "us" in found else None
            if ratio and name.startswith("lstm"):
                ratios.append(ratio)
            meant = bar if against in (None, variant) else None
            body.append([name, show("us"), show("strict_us"), f"{best:.1f}" if best else "", variant or "",
                         f"{ratio:.1f}x" if ratio else "", f"{meant}x" if meant else "",
                         "" if not (ratio and meant) else "met" if ratio >= meant else "MISSED"])
    add(table(["row", "fast", "strict", "PyTorch", "variant", "ratio", "bar", ""], body))
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        add(f"\nLSTM, geometric mean: {mean:.1f}x (bar 3x), least {min(ratios):.1f}x (bar 1x).")
    for family, reason in compare["dropped"].items():
        add(f"\nNot asked any more: {family}; it {reason}.")


def choices(compare, add):
    body = [[name, *(f"{found[key]:.1f}" if key in found else "" for key in [*rows.CHOICES, "us"])]
            for name, found in compare["rows"].items() if set(rows.CHOICES) & set(found)]
    if body:
        add("\n## Choices\n")
        add("Microseconds with `BIB_LSTM_EXCHANGE=async`, with `BIB_LSTM_TILE` and `BIB_LSTM_WARP`, without cuBLAS "
            "(`BIB_GPU_BLAS=bib`), with `BIB_OVERLAP=1`, with `BIB_GRAPHS=0`, and with what is taken where nothing is asked "
            "(tile and units of a warp by the model of `kernels/lstm_fast_plan.cu`).\n")
        add(table(["row", *rows.CHOICES.values(), "chosen"], body))


def report(result):
    gpu, lines = result["gpu"], []
    add = lines.append
    add(f"# GPU results: {gpu['name']}\n")
    about = result.get("preflight", {})
    cublas = {True: "", False: "; no cuBLAS: bib's own product did all the work"}.get(about.get("cublas"), "; whether cuBLAS "
             "was there is not known")
    add(f"`scripts/gpu-check`, {result['date']}, commit {result['commit']}; driver {gpu['driver']}, {gpu['memory']}{cublas}.\n")
    if libraries := about.get("libraries"):
        add(f"Loaded by the {about['loader']} loader: {', '.join(f'`{x}`' for x in libraries)}.\n")
    add("## Parts\n")
    state = lambda p: "skipped: " + p["skipped"] if "skipped" in p else "FAILED" if p.get("ok") is False else "ok"
    add(table(["part", "result", "seconds"],
              [[name, state(p), f"{p['seconds']:.0f}"] for name, p in result["parts"].items()]))
    if "compare" in result:
        beside_torch(result["compare"], add)
        choices(result["compare"], add)
    if "us_per_round" in result["parts"].get("probe", {}):
        p = result["parts"]["probe"]
        add("\n## Latencies\n")
        add(table(["what", "microseconds"], [[k, f"{v:.3f}"] for k, v in p["us_per_round"].items()]))
        fits = ", ".join(f"{n} of {size} blocks" for size, n in p["clusters_that_fit"].items())
        add(f"\nClusters that fit at {p['registers']} registers a thread: {fits}.")
    return "\n".join(lines) + "\n"
