"""For scripts/gpu-check: bib's and PyTorch's times of the same rows, in turn, and the page of results."""
import json
import re
import sys

from gpu_programs import Clock, Skipped, TimedOut, Worker
from measure import judged, root, table

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
    not asked any more and why: what twice gave no answer, or twice broke CUDA, costs the other rows no more time. What an
    earlier run found is kept."""

    def __init__(self, programs, args, limits, names, found, save):
        self.args, self.limits, self.names, self.save, self.failures = args, limits, names, save, {}
        self.found = {"rows": {}, "torch": None, "torch_missing": None, "dropped": {}, **found}
        self.bib, self.torch = Worker(programs.command("bench/bib_grid"), limits["row"]), None

    def with_torch(self):
        try:
            self.torch, self.found["torch"] = torch_worker(self.args, self.limits["torch"])
            self.found["torch_missing"] = None
        except Skipped as reason:
            self.found["torch_missing"] = str(reason)
            print(f"gpu-check: peers skipped: {reason}", file=sys.stderr)

    def stop(self):
        for worker in filter(None, (self.bib, self.torch)):
            worker.stop()

    def figures(self, peers):
        """Every row's first figures. What goes into the parts."""
        all_rows = self.found["rows"]
        lacking = lambda peers: [n for n in self.names if "us" not in (row := all_rows.get(n, {})) or peers and not times_of(row)]
        if peers and lacking(peers):
            self.with_torch()
        for name in lacking(bool(self.torch)):
            if Clock.over():
                print(f"gpu-check: no time is left for rows from {name} on", file=sys.stderr)
                break
            all_rows.setdefault(name, {})
            self.ask_bib(name, rows.first(name))
            if Clock.over() and "us" not in all_rows[name]:  # cut off
                del all_rows[name]
                break
            self.ask_torch(name, lambda variant: "compiled" not in variant)
            print(f"gpu-check: {name}: {describe(all_rows[name])}", file=sys.stderr)
        self.stop()
        errors = [name for name, found in all_rows.items() if "us" not in found]
        return {"rows": len(all_rows), "left_out": [n for n in self.names if n not in all_rows], "without_a_time": errors,
                "ok": not errors}

    def choices(self):
        """What else may be asked for, of rows that have a time, and what PyTorch compiles."""
        all_rows = self.found["rows"]
        timed = [name for name in self.names if "us" in all_rows.get(name, {})]
        if not timed:
            raise Skipped("no row has a time yet: 'ops' and 'model' come first, or --onto their results")
        for name in timed:
            self.ask_bib(name, {key: line for key, line in rows.choices(name).items() if key not in all_rows[name]})
        if compiling := [name for name in rows.MODELS if name in timed]:
            self.with_torch()
        for name in compiling:
            self.ask_torch(name, lambda variant: "compiled" in variant)
        self.stop()
        without = [name for name in timed if not set(rows.choices(name)) <= set(all_rows[name])]
        return {"rows": len(timed), "without_some": without}

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
                found.pop(key + "_error", None)
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
        found.pop("all", None)
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


def compared_with(name, found):
    """(variant, microseconds) of what the row's bar is meant against."""
    against = rows.bar_is_against(name)
    return (against, times_of(found).get(against)) if against else best_of(found)


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
    body = []
    for name, found in compare["rows"].items():
        show = lambda key: f"{found[key]:.1f}" if key in found else found.get(key + "_error", "")
        bar, against = rows.BARS.get(rows.op_of(name)), rows.bar_is_against(name)
        peers = dict.fromkeys(p for p in (compared_with(name, found), best_of(found)) if p[1])
        steps = rows.sizes(name).get("t") if name.startswith("lstm") and "us" in found else None
        for variant, best in peers or [(None, None)]:
            ratio = best / found["us"] if best and "us" in found else None
            meant = bar if against in (None, variant) else None
            body.append([name, show("us"), show("strict_us"), f"{found['us'] / steps:.2f}" if steps else "",
                         f"{best:.1f}" if best else "", variant or "", f"{ratio:.1f}x" if ratio else "",
                         f"{meant}x" if meant else "", judged(ratio, meant) if ratio and meant else ""])
    add(table(["row", "fast", "strict", "fast / T", "PyTorch", "variant", "ratio", "bar", ""], body))
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
