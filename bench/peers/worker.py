"""The loop of a Python peer: a line "WORKLOAD THREADS SECONDS" in, the median seconds of one run out."""
import json
import statistics
import sys
import time


def timed(run, at_least):
    seconds = []
    while sum(seconds) < at_least or len(seconds) < 3:
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def serve(workloads, set_threads):
    """workloads: {name: function that makes a function to time, or that returns a number itself}"""
    ready = {}
    for line in sys.stdin:
        name, threads, at_least = line.split()
        try:
            set_threads(int(threads))
            if name not in ready:
                made = workloads[name]()
                if callable(made):
                    made()
                ready[name] = made
            made = ready[name]
            answer = f"{timed(made, float(at_least)):.9f}" if callable(made) else json.dumps(made)
            if not callable(made):
                del ready[name]  # a number is measured anew every time
        except Exception as e:  # the other rows go on
            answer = f"error {type(e).__name__}: {e}".replace("\n", " ")
        print(answer, flush=True)


def ner_lines(path, limit=None):
    """[(characters without spaces, [(begin, end, label)])]: outermost spans of <text:LABEL>, as bib reads them."""
    import re
    token = re.compile(r":([A-Z]+)>")
    out = []
    for line in open(path, encoding="utf-8"):
        line, stack, chars, spans, i = line.rstrip("\n"), [], [], [], 0
        while i < len(line):
            m = token.match(line, i)
            if line[i] == "<":
                stack.append((len(chars), True))
                chars.append("<")
                i += 1
            elif m and stack:
                begin, _ = stack.pop()
                del chars[begin]  # the bracket was markup after all
                spans = [s for s in spans if s[0] < begin] + [(begin, len(chars), m[1])] if len(chars) > begin else spans
                i = m.end()
            else:
                if not line[i].isspace():
                    chars.append(line[i])
                i += 1
        out.append((chars, [s for s in spans if s[1] <= len(chars)]))
        if limit and len(out) >= limit:
            break
    return out


def tc_lines(path, limit=None):
    import ast
    out = []
    for line in open(path, encoding="utf-8"):
        row = ast.literal_eval(line)
        out.append((row[0], next((x for x in row[1:] if x), "")))
        if limit and len(out) >= limit:
            break
    return out
