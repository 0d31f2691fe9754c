"""For scripts/gpu-check: the page of results, and on it every bar that a GPU has to reach."""
import math
import traceback

import headline_checks
from gpu_compare import beside_torch, best_of, choices, compared_with, rows
from measure import judged, table


def of(n, all_of):
    return f" ({n} of {all_of} rows)"


def bar(what, values, all_of, unit, limit, aim=None, at_least=True, most=None):
    """A line: the worst of the values, or their `most`. A bar is met when all of them are there."""
    worst = (most or (min if at_least else max))(values) if values else None
    rows_of = of(len(values), all_of) if all_of > 1 else ""
    sign, show = "≥" if at_least else "≤", lambda x: "" if x is None else f"{x:,.2f}{unit}" if x < 10 else f"{x:,.1f}{unit}"
    said = lambda limit: "" if limit is None else judged(worst, limit, at_least)
    so_far = lambda text: f"met so far{rows_of}" if text == "met" and len(values) < all_of else text
    wanted = lambda limit: "" if limit is None else f"{sign} {limit:g}{unit}"
    return [what, (show(worst) + rows_of) if values else "", wanted(limit), so_far(said(limit)), wanted(aim), so_far(said(aim))]


def ratios(found, names):
    """Of the rows that have both times."""
    out = []
    for name in (n for n in names if n in found):
        _, theirs = compared_with(name, found[name])
        if theirs and "us" in found[name]:
            out.append(theirs / found[name]["us"])
    return out


def geometric(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def bars(result):
    """Rows of the table: what, measured, bar, verdict, aim, verdict."""
    found = result.get("compare", {}).get("rows", {})
    us = lambda names, per=lambda name: 1: [found[n]["us"] / per(n) for n in names if "us" in found.get(n, {})]
    grid = rows.lstm(full=True)
    out = [bar("BiLSTM against PyTorch's fastest, least", ratios(found, grid), len(grid), "x", 1),
           bar("BiLSTM against PyTorch's fastest, geometric mean", ratios(found, grid), len(grid), "x", 3, 8, most=geometric)]
    small = [n for n in grid if rows.sizes(n)["b"] <= 128]
    for op, text, passes in (("lstm_forward", "BiLSTM forward, B ≤ 128: a step, slowest", 1),
                             ("lstm_train", "BiLSTM forward + backward, B ≤ 128: a step of either, slowest", 2)):
        names = [n for n in small if rows.op_of(n) == op]
        out.append(bar(text, us(names, lambda n: passes * rows.sizes(n)["t"]), len(names), " us", None, 0.5, at_least=False))
    for op, text, aim in (("crf_loss", "CRF loss + gradient", 15), ("crf_decode", "CRF Viterbi", 10)):
        names = rows.CRF[op]
        out.append(bar(f"{text} against pytorch-crf's algorithm, least", ratios(found, names), 2, "x", rows.BARS[op]))
        out.append(bar(f"{text}, slowest", us(names), 2, " us", None, aim, at_least=False))
    step = lambda name, text, aim: bar(text, ratios(found, [name]), 1, "x", rows.BARS[name], aim)
    out.append(step("textcnn_step", "TextCNN training step against eager PyTorch", 10))
    out.append(step("embedding_adam", "embedding + Adam against PyTorch's dense", None))
    copy = result["parts"].get("probe", {}).get("copy_gb_per_s")
    moved = [rows.embedding_adam_bytes() / t / 1e3 for t in us(["embedding_adam"])]
    shares = [100 * m / copy for m in moved if copy]
    out.append(bar("embedding + Adam: touched bytes a second, of a copy's", shares, 1, " %", None, 60))
    out.append(step("ner_step", "NER training step against eager PyTorch and pytorch-crf's algorithm", 50))
    out.append(bar("NER training step", us(["ner_step"]), 1, " us", None, 200, at_least=False))
    return out + headline_checks.bars(result.get("headline", {}))


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
    add("## Bars\n")
    add("In fast math where nothing else is said.\n")
    add(table(["what", "measured", "bar", "", "aim", ""], bars(result)))
    found = headline_checks.lines(result.get("headline", {})) + headline_checks.served_lines(result.get("servers", {}))
    add("".join(f"\n- {line}" for line in found))
    add("\n## Parts\n")
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
        add(f"\nClusters that fit at {p['registers']} registers a thread: {fits}." +
            (f" A copy in its memory: {p['copy_gb_per_s']:.0f} GB/s, read and written." if "copy_gb_per_s" in p else ""))
    return "\n".join(lines) + "\n"


def page(result):
    """The report, or why there is none: what was measured must not be lost, nor the parts to come."""
    try:
        return report(result)
    except Exception as error:
        why = "".join(traceback.format_exception(error))
        return f"# GPU results: no page\n\nThe figures are in the .json beside it.\n\n```\n{why}```\n"
