"""The rows of bench/peers/run whose sides are whole programs: fastText, spaCy, bib's own bf16 and int8."""
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import worker

FASTTEXT = ["-minn", 1, "-maxn", 3, "-epoch", 25, "-lr", 0.5, "-dim", 100]


def call(command, env, **options):
    return subprocess.run([str(c) for c in command], env=env, check=True, capture_output=True, text=True, **options)


def bib_to_accuracy(args, env, work, wanted):
    """Seconds from the start of `bib train tc` to the first epoch whose test accuracy is `wanted`, and its best."""
    split = args.data / "bib/split"
    command = [args.bib, "train", "tc", "--train", split / "tc.train.txt", "--dev", split / "tc.test.txt", "-o",
               work / "tc.bib", "--progress", "json", "--threads", args.threads]
    best, reached, began = 0, None, time.perf_counter()
    with subprocess.Popen([str(c) for c in command], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True) as run:
        for line in run.stderr:
            score = json.loads(line).get("dev_score") if line.startswith("{") else None
            if score is not None:
                best = max(best, score)
                if score >= wanted and reached is None:
                    reached = time.perf_counter() - began
                    run.terminate()  # the rest of the training is not asked for
    return reached, best


def fasttext(args, env):
    """Time to fastText's accuracy on the TC split; fastText's time is that of its whole training."""
    if not shutil.which("fasttext"):
        return {"missing": {"fastText": "no program 'fasttext'"}}
    split = args.data / "bib/split"
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for part in ("train", "test"):
            (work / part).write_text("".join(
                f"__label__{label.replace(' ', '_')} {' '.join(text.split())}\n"
                for text, label in worker.tc_lines(split / f"tc.{part}.txt")), encoding="utf-8")
        theirs, ours, accuracy, best = [], [], 0, 0
        for _ in range(args.program_rounds):
            began = time.perf_counter()
            call(["fasttext", "supervised", "-input", work / "train", "-output", work / "m", "-thread", args.threads,
                  *FASTTEXT], env)
            theirs.append(time.perf_counter() - began)
            answer = call(["fasttext", "test", work / "m.bin", work / "test"], env).stdout
            accuracy = max(accuracy, float(re.search(r"P@1\s+([\d.]+)", answer)[1]))
            seconds, best = bib_to_accuracy(args, env, work, accuracy)
            if seconds is None:
                return {"sides": {"fastText": theirs}, "note": f"bib's best is {best:.3f}, fastText's {accuracy:.3f}"}
            ours.append(seconds)
    return {"sides": {"bib": ours, "fastText": theirs}, "note": f"to accuracy {accuracy:.3f} on the test split"}


def spacy(args, env):
    """Tokens a second and F1 after as many epochs, both sides on the same documents."""
    python = args.peers / "bin/python"
    here = pathlib.Path(__file__).parent
    try:
        theirs = json.loads(call([python, here / "spacy_peer.py", args.data, args.documents, args.spacy_epochs],
                                 env).stdout)
    except (OSError, subprocess.CalledProcessError) as e:
        return {"missing": {"spaCy": (getattr(e, "stderr", None) or str(e)).strip().splitlines()[-1]}}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        lines = (args.data / "bib/split/ner.train.txt").read_text().splitlines(keepends=True)[:args.documents]
        (work / "train.txt").write_text("".join(lines))
        test = args.data / "bib/split/ner.test.txt"
        common = ["--threads", args.threads]
        trained = call([args.bib, "train", "ner", "--train", work / "train.txt", "--train-rate", 1, "--epochs",
                        args.spacy_epochs, "-o", work / "ner.bib", "--progress", "json", *common], env)
        steps = [json.loads(x) for x in trained.stderr.splitlines() if x.startswith("{")]
        speed = statistics.median(s["units_per_second"] for s in steps if "units_per_second" in s)
        timing = call([args.bib, "predict", work / "ner.bib", test, "--from", "inline", "--scores", "none", "--format",
                       "jsonl", "-o", work / "out", "--timing", *common], env).stderr
        predict = float(re.search(r"texts in ([\d.]+) ms", timing)[1]) / 1e3
        units = sum(len(c) for c, _ in worker.ner_lines(test))
        f1 = json.loads(call([args.bib, "evaluate", work / "ner.bib", test, "--json", *common], env).stdout)["micro"]["f1"]
    return {"sides": {"bib": [1 / speed], "spaCy": [1 / theirs["train"]]},
            "more": {"predict": units / predict / theirs["predict"], "f1": f1, "spacy_f1": theirs["f1"]},
            "note": f"training, seconds a token; prediction {units / predict / theirs['predict']:.1f}x; F1 {f1:.3f} "
                    f"against {theirs['f1']:.3f} after {args.spacy_epochs} epochs of {args.documents} sentences"}


def math(args, env, kind):
    """`bib predict --math` against fp32, model loaded; F1 of both."""
    if subprocess.run([args.bib, "predict", "/no/model", "--math", kind], env=env, capture_output=True).returncode == 2:
        return {"missing": {kind: f"this build's 'bib predict' has no --math {kind}"}}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        model, test = work / "ner.bib", args.data / "bib/split/ner.test.txt"
        call([args.bib, "train", "ner", "--train", args.data / "bib/split/ner.train.txt", "--train-rate", 1, "--epochs", 1,
              "-o", model, "-q"], env)
        seconds = {"fp32": [], kind: []}
        for _ in range(args.rounds):
            for side in seconds:
                flags = [] if side == "fp32" else ["--math", side]
                timing = call([args.bib, "predict", model, args.data / "bib/ner_predict.txt", "--scores", "none", "-o",
                               work / "out", "--timing", "--threads", args.threads, *flags], env).stderr
                seconds[side].append(float(re.search(r"texts in ([\d.]+) ms", timing)[1]) / 1e3)
        f1 = {}
        for side in seconds:
            flags = [] if side == "fp32" else ["--math", side]
            found = call([args.bib, "predict", model, test, "--from", "inline", "--format", "jsonl", "-o", work / side,
                          *flags], env)
            found = call([args.bib, "evaluate", "--gold", test, "--pred", work / side, "--json"], env).stdout
            f1[side] = json.loads(found)["micro"]["f1"]
    return {"sides": {"bib": seconds[kind], "fp32": seconds["fp32"]}, "more": {"f1": f1[kind], "fp32_f1": f1["fp32"]},
            "note": f"F1 {f1[kind]:.4f} against {f1['fp32']:.4f}"}


def scale(args, _):
    """The fit that scripts/scale wrote for this machine."""
    found = sorted((args.out).glob("scale-*.json"), key=lambda p: p.stat().st_mtime)
    if not found:
        return {"missing": {"cost growth": "run scripts/scale first"}}
    rows = json.loads(found[-1].read_text())["rows"]
    low, high = rows[0], rows[-1]
    growth = high["seconds_per_unit"] / low["seconds_per_unit"]
    return {"more": {"growth": growth, "memory_growth": high["growth_mb"] / high["memory_mb"]},
            "note": f"time a unit at {high['documents']:,} documents is {growth:.2f}x that at {low['documents']:,}; "
                    f"memory while training grows by {high['growth_mb']:.0f} MB ({found[-1].name})"}


# key: (title, function, bar, aim, whether met given (ratio, more))
PROGRAMS = {
    "fasttext": ("headline TC: time to fastText's accuracy", fasttext, 1, 3, lambda r, m: r is not None and r >= 1),
    "spacy": ("spaCy's CNN from scratch, same NER split", spacy, 5, 5,
              lambda r, m: r is not None and r >= 5 and m["predict"] >= 5 and m["f1"] >= m["spacy_f1"]),
    "bf16": ("prediction in 16 bits (--math fast) against fp32", lambda a, e: math(a, e, "fast"), 1.5, 1.5,
             lambda r, m: r is not None and r >= 1.5 and m["f1"] >= m["fp32_f1"] - 0.002),
    "int8": ("prediction in int8 (--math int8) against fp32", lambda a, e: math(a, e, "int8"), 2.5, 2.5,
             lambda r, m: r is not None and r >= 2.5 and m["f1"] >= m["fp32_f1"] - 0.002),
    "scale": ("cost growth: linear in tokens, memory flat", scale, 1.1, 1.1, lambda r, m: m["growth"] <= 1.1 and m["memory_growth"] <= 0.05),
}
