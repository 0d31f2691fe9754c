"""For scripts/headline: what a GPU must reach on the workload, and whether what it trained and answered is right."""
import array
import itertools
import json

from measure import judged, pretty, root

TASKS = {"ner": "NER", "tc": "TC"}
# Seconds, as (bar, aim): an epoch of everything, and 1,000 predictions with the model loaded.
SECONDS = {"ner": {"epoch": (5, 0.5), "predict": (0.2, 0.02)}, "tc": {"epoch": (3, 0.3), "predict": (0.1, 0.01)}}
# Noise of the seed: three standard deviations of the difference of two of the CPU's scores (seeds 1 to 4, and 1 to 5: 0.8300
# to 0.8337, 0.9690 to 0.9730).
NOISE = {"ner": 0.007, "tc": 0.007}


def complete(result):
    """{device: results} without those that were stopped on the way."""
    parts = ["epoch", "predict"] + ([] if result.get("via") == "server" else ["accuracy"])
    return {d: r for d, r in result["devices"].items() if all(p in r.get(t, {}) for t in TASKS for p in parts)}


def recorded_scores():
    """{task: the CPU's score} of the newest committed results, for runs that do not come to the CPU."""
    found = [json.loads(p.read_text()) for p in (root / "docs/results").glob("headline-*.json") if "-server-" not in p.name]
    found = [r for r in found if "cpu" in complete(r)]
    newest = max(found, key=lambda r: r["date"], default={"devices": {"cpu": {}}})["devices"]["cpu"]
    return {task: r["accuracy"]["score"] for task, r in newest.items()}


def cpu_score(result, task):
    own = result["devices"].get("cpu", {}).get(task, {}).get("accuracy", {}).get("score")
    return own if own is not None else result.get("recorded_scores", {}).get(task)


def gpus(result):
    """Both math modes, measured or not."""
    return {d: result.get("devices", {}).get(d, {}) for d in ("cuda", "cuda-fast")}


def bars(result):
    """Rows of scripts/gpu-check's table: what, measured, bar, verdict, aim, verdict."""
    out = []
    for device, found in gpus(result).items():
        for task, name in TASKS.items():
            r = found.get(task, {})
            for part, text, value in (("epoch", "train, one epoch", r.get("epoch", {}).get("seconds")),
                                      ("predict", "predict 1,000, loaded", r.get("predict", {}).get("after_load"))):
                limit, aim = SECONDS[task][part]
                out.append([f"headline: {name} {text}, {device}", "" if value is None else pretty(value), f"≤ {pretty(limit)}",
                            judged(value, limit, False), f"≤ {pretty(aim)}", judged(value, aim, False)])
    for device, found in gpus(result).items():
        for task, name in TASKS.items():
            score = found.get(task, {}).get("accuracy", {}).get("score")
            cpu = None if score is None else cpu_score(result, task)
            apart = None if cpu is None else abs(score - cpu)
            out.append([f"headline: {name} test score, {device}", "" if score is None else f"{score:.4f}" +
                        ("" if cpu is None else f", the CPU's {cpu:.4f}"), f"within {NOISE[task]:g}",
                        judged(apart, NOISE[task], False), "", ""])
    return out


def problems(result):
    """What is wrong, in words."""
    out = [f"{what}: {measured} is not {limit}" for what, measured, limit, verdict, *_ in bars(result)
           if "score" in what and verdict == "MISSED"]
    return out + [line for line in lines(result) if "DIFFERENT" in line or "FAILED" in line]


def lines(result):
    """What was found about the models that a GPU trained."""
    out = []
    for device, found in gpus(result).items():
        for task, name in TASKS.items():
            for how, other in found.get(task, {}).get("repeated", {}).items():
                same = f"DIFFERENT: {other['differs']}" if other["differs"] else "the same bytes"
                out.append(f"{name} on {device}, an epoch trained {how}: {same}; {pretty(other['seconds'])}.")
            if (other := found.get(task, {}).get("predict_cublas")) and (own := found[task].get("predict")):
                out.append(f"{name} on {device}, predict 1,000, loaded: {pretty(own['after_load'])} by bib's own products, "
                           f"{pretty(other['after_load'])} with cuBLAS, opened in it.")
            if v := found.get(task, {}).get("verify"):
                share = "" if v["share"] is None else f"at most {100 * v['share']:.1f} % of the allowed difference, "
                out.append(f"`bib verify` of {name} on {device}: " + ("passed" if v["passed"] else f"FAILED: {v['why']}") +
                           f"; {share}{v['flips']} of {v['answers']} answers differ, {v['ties']} of them ties.")
    return out


def verified(report):
    """What is kept of `bib verify --json`."""
    shares = [layer["share_of_allowed"] for layer in report["layers"]]
    return {"passed": report["passed"], "why": report["why"], "answers": report["answers"], "flips": len(report["flips"]),
            "ties": sum(f["tie"] for f in report["flips"]), "share": None if None in shares else max(shares)}  # None: not a number


# ---- model files

def tensors(path):
    """(header, {name: bytes}) in the order of the file."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header.pop("__metadata__", None)
    ordered = sorted(header.items(), key=lambda kv: kv[1]["data_offsets"])
    return {name: (t["dtype"], data[end + t["data_offsets"][0]:end + t["data_offsets"][1]]) for name, t in ordered}


def first_difference(one, other):
    """None where two model files hold the same bytes, else the first tensor that differs, and by how much."""
    if one.read_bytes() == other.read_bytes():
        return None
    a, b = tensors(one), tensors(other)
    for name in a:
        if a[name] == b.get(name):
            continue
        kind, data = a[name]
        if kind != "F32" or name not in b or len(b[name][1]) != len(data):
            return f"{name} first"
        bits, values = ([array.array(code, d) for d in (data, b[name][1])] for code in "If")
        differ = sum(x != y for x, y in zip(*bits))  # 0 and -0, too
        return f"{name} first, {differ} of {len(bits[0])} values, by up to {max(abs(x - y) for x, y in zip(*values)):.3g}"
    return "only what is said about the model"


# ---- served answers

def split_scores(answer):
    """(the answer without its scores, its scores)."""
    if isinstance(answer, list):
        parts = [split_scores(a) for a in answer]
        return [p[0] for p in parts], [s for p in parts for s in p[1]]
    if isinstance(answer, dict):
        parts = {k: split_scores(v) for k, v in answer.items() if k != "score"}
        own = [answer["score"]] if "score" in answer else []
        return {k: p[0] for k, p in parts.items()}, own + [s for p in parts.values() for s in p[1]]
    return answer, []


def compared(served, expected):
    """JSON lines beside each other: how many are equal byte for byte, how many differ in more than scores, and by how much
    scores differ."""
    pairs = list(itertools.zip_longest(served.splitlines(), expected.splitlines(), fillvalue="null"))
    out = {"texts": len(pairs), "equal_answers": sum(a == b for a, b in pairs), "flips": 0, "largest_score_difference": 0.0}
    for a, b in pairs:
        (one, scores), (other, others) = split_scores(json.loads(a)), split_scores(json.loads(b))
        out["flips"] += one != other
        if one == other:
            out["largest_score_difference"] = max([out["largest_score_difference"], *(abs(x - y) for x, y in zip(scores, others))])
    return out


def served_lines(result):
    out = []
    for device, tasks in result.get("devices", {}).items():
        for task, name in TASKS.items():
            if not (p := tasks.get(task, {}).get("predict")):
                continue
            texts = p.get("texts", p["equal_answers"])
            out.append(f"All {texts} served {name} answers on {device} equal those of `bib predict`, byte for byte."
                       if p["equal_answers"] == texts else
                       f"{texts - p['equal_answers']} of {texts} served {name} answers on {device} are not those of `bib predict` byte "
                       f"for byte: {p['flips']} in more than scores, scores by at most {p['largest_score_difference']:.2g}.")
    return out


def served_problems(result):
    """The CPU's answers are the very bytes. A GPU's batches decide how a long sum is cut, and scores print every digit: there
    only entities and labels must be the same."""
    out = []
    for device, tasks in result["devices"].items():
        for task, name in TASKS.items():
            p = tasks.get(task, {}).get("predict", {})
            wrong = p.get("texts", 0) - p.get("equal_answers", 0) if device == "cpu" else p.get("flips", 0)
            out += [f"{wrong} of {p['texts']} served {name} answers on {device} differ from those of bib predict"] if wrong else []
    return out
