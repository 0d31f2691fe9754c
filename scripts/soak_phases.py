"""The phases of scripts/soak. Each starts its servers, drives them with `bib client load`, and adds rows to the table."""
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

import job_pb2
import model_pb2
import predict_pb2
import server as servers
import train_pb2

GAP = 1.0  # seconds between two swaps


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Soak:
    def __init__(self, bib, folder, quick):
        self.bib, self.folder, self.quick = str(bib.resolve()), folder, quick
        self.rows, self.servers = [], []
        self.capacity = None

    def scale(self, full, quick):
        return quick if self.quick else full

    def row(self, what, bar, aim, measured, holds, how):
        print(f"soak: {what}: {measured}", file=sys.stderr, flush=True)
        self.rows.append({"what": what, "bar": bar, "aim": aim, "measured": measured, "holds": bool(holds), "how": how})

    # --- what the phases share

    def prepare(self):
        """The default NER model and a small one, trained on the sample corpus; texts of the corpus and of random lengths."""
        data = servers.SOURCE / "data/ner"
        small = [f for k, v in servers.SMALL["ner"].items() for f in ("--set", f"{k}={v}")]
        for name, flags in (("ner", []), ("small", small)):
            target = self.folder / "models" / name / "1"
            target.mkdir(parents=True)
            subprocess.run([self.bib, "train", "ner", "--train", data / "train.txt", "--train-rate", "1", "--epochs", "1",
                            "-o", target / "model.bib", "-q", *flags], check=True)
        self.texts = data / "predict.txt"
        words = " ".join((data / "train.txt").read_text(encoding="utf-8").split("\n")).split()
        numbers = random.Random(1)
        lines = [" ".join(numbers.choice(words) for _ in range(int(numbers.expovariate(1 / 8)) + 1)) for _ in range(5000)]
        self.random_texts = self.folder / "random.txt"
        self.random_texts.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def serve(self, *flags, role="predict", env=None):
        s = servers.Server(self.folder, *flags, role=role, env=env)
        self.servers.append(s)
        return s

    def end(self):
        for s in self.servers:
            if s.process.poll() is None:
                s.end()
        self.servers.clear()

    def load(self, address, *flags, model="ner", texts=None, seconds, warmup=1):
        """`bib client load` under way; answer() waits for its report."""
        return subprocess.Popen([self.bib, "client", "--server", address, "load", "ner", model, texts or self.texts, "--json",
                                 "--seconds", str(seconds), "--warmup", str(warmup), *map(str, flags)],
                                stdout=subprocess.PIPE, text=True)

    @staticmethod
    def answer(process):
        out, _ = process.communicate(timeout=900)
        return json.loads(out)

    def measure(self, *args, **more):
        return self.answer(self.load(*args, **more))

    def at(self, s):
        return f"127.0.0.1:{s.port}"

    @staticmethod
    def metric(s, name):
        return float(re.search(rf"^{name} (.*)$", s.get("/metrics")[1], re.M)[1])

    def resident(self, s):
        return self.metric(s, "bib_resident_bytes")

    def resident_at_rest(self, s):
        """Once it stands still: after three seconds without a call the server gives back what a burst took."""
        seen, end = [], time.monotonic() + 60
        while len(seen) < 6 or max(seen[-6:]) > 1.001 * min(seen[-6:]):
            if time.monotonic() > end:
                sys.exit(f"soak: error: the memory of a server without calls still moves after 60 s: {seen}")
            time.sleep(1)
            seen.append(self.resident(s))
        return seen[-1]

    def rate(self):
        """Single-text requests a second that leave room for what happens beside them: a quarter of what is carried."""
        if self.capacity is None:
            s = self.serve()
            self.capacity = self.measure(self.at(s), "-c", 16, seconds=self.scale(5, 3))["texts_per_second"]
            self.end()
        return round(self.capacity / 4)

    def run(self, only):
        phases = {"start": self.start, "unary": self.unary, "overhead": self.overhead, "swap": self.swap,
                  "rolling": self.rolling, "overload": self.overload, "training": self.training, "memory": self.memory}
        if only and not set(only) <= set(phases):
            sys.exit(f"soak: error: --only knows {', '.join(phases)}")
        self.prepare()
        for name, phase in phases.items():
            if only is None or name in only:
                try:
                    phase()
                finally:
                    self.end()
        return self.rows

    # --- the phases

    def start(self):
        times = []
        for _ in range(self.scale(11, 5)):
            began = time.perf_counter()
            s = self.serve()
            times.append(time.perf_counter() - began)
            assert s.health("bib.model.ner") == servers.health_pb2.HealthCheckResponse.SERVING
            self.end()
        t = statistics.median(times)
        self.row("start to ready with two models", "≤ 0.3 s", "≤ 0.1 s", f"{t:.3f} s", t <= 0.3,
                 f"median of {len(times)} starts, from exec to the line 'ready'; models of the default and of a small size")

    def unary(self):
        s = self.serve()
        r = [self.measure(self.at(s), "-c", 1, seconds=self.scale(5, 3))["latency_ms"] for _ in range(3)]
        p50, p99 = (statistics.median(x[q] for x in r) for q in ("p50", "p99"))
        self.row("unary NER prediction, 1 client", "p50 ≤ 1 ms, p99 ≤ 3 ms", "", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms",
                 p50 <= 1 and p99 <= 3, "medians of three runs, one sentence a request")

    def overhead(self):
        s = self.serve()
        library, served = [], []
        for _ in range(self.scale(7, 3)):  # by turns, so that both see the same machine
            done = subprocess.run([self.bib, "bench", self.folder / "models/ner/1/model.bib", "--texts", self.texts, "--devices",
                                   "cpu", "--batches", "256", "--repeats", "1", "--seconds", "2", "--json"],
                                  check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            library.append(next(m["median"] for m in json.loads(done.stdout)["metrics"] if m["name"] == "cpu/batch/256"))
            r = self.measure(self.at(s), "-c", 4, "-b", 256, seconds=2, warmup=0.5)
            assert not r["errors"], r["errors"]
            served.append(r["texts_per_second"])
        ours, bare = statistics.median(served), statistics.median(library)
        share = 1 - ours / bare
        self.row("overhead over the library's batch throughput", "≤ 25 %", "≤ 10 %",
                 f"{100 * share:.1f} % ({ours:.0f} of {bare:.0f} sentences/s)", share <= 0.25,
                 "`bib bench`, which calls the library with 256 sentences at a time and drops the answers, and the server with 4 "
                 "requests of 256 at a time, by turns; medians")

    def verdict(self, what, calm, moved, events, how):
        ratio = moved["latency_ms"]["p99"] / calm["latency_ms"]["p99"]
        failed = sum(moved["errors"].values())
        self.row(what, "0 failed; p99 ≤ 2x", "",
                 f"{failed} failed of {moved['answered'] + failed}; p99 {moved['latency_ms']['p99']:.2f} ms, {ratio:.2f}x",
                 failed == 0 and ratio <= 2 and events > 0, how)

    def swap(self):
        rate, seconds = self.rate(), self.scale(20, 8)
        s = self.serve()
        calm = self.measure(self.at(s), "-r", rate, seconds=seconds)
        running = self.load(self.at(s), "-r", rate, seconds=seconds)
        swaps, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            swaps += 1
            folder = self.folder / "models/ner" / str(swaps + 1)
            staged = folder.with_name(f".{swaps + 1}")
            staged.mkdir()
            shutil.copy(self.folder / "models/ner/1/model.bib", staged)
            staged.rename(folder)
            s.wait_for(f"version {swaps + 1} serves instead of {swaps}")
            time.sleep(GAP)  # the load goes on meanwhile
        self.verdict("model swap under load", calm, self.answer(running), swaps,
                     f"{swaps} new versions in {seconds} s at {rate} requests/s, beside {seconds} s without")

    def rolling(self):
        rate, seconds = self.rate(), self.scale(20, 10)
        ports = free_ports(4)

        def serve(i):
            return self.serve("--port", str(ports[2 * i]), "--http", str(ports[2 * i + 1]), "--drain-seconds", "2")
        pair = [serve(0), serve(1)]
        both = "ipv4:" + ",".join(self.at(s) for s in pair)
        calm = self.measure(both, "-r", rate, seconds=seconds)
        running = self.load(both, "-r", rate, seconds=seconds)
        replaced, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            i = replaced % 2
            pair[i].end()  # SIGTERM: not ready, 2 s more of service, then the end
            pair[i] = serve(i)
            while self.metric(pair[i], "bib_predict_texts_total") == 0 and running.poll() is None:
                time.sleep(0.05)  # until the client has found it; the other serves alone so long
            replaced += 1
        self.verdict("rolling replacement under load", calm, self.answer(running), replaced,
                     f"of two servers one after the other was replaced, {replaced} times in {seconds} s at {rate} requests/s")

    def overload(self):
        seconds, batch = self.scale(60, 10), 8
        s = self.serve()
        carried = self.measure(self.at(s), "-c", 16, "-b", batch, seconds=5)["texts_per_second"] / batch
        twice = round(2 * carried)
        self.measure(self.at(s), "-r", twice, "-b", batch, seconds=self.scale(20, 4))  # memory settles: then minutes add nothing
        before = self.resident_at_rest(s)
        r = self.measure(self.at(s), "-r", twice, "-b", batch, seconds=seconds)
        after = self.resident_at_rest(s)
        growth, p99, refused = after / before - 1, r["latency_ms"]["p99"], r["errors"].get("RESOURCE_EXHAUSTED", 0)
        holds = (s.process.poll() is None and p99 <= 100 and growth < 0.05 and refused > 0
                 and set(r["errors"]) == {"RESOURCE_EXHAUSTED"})  # the load counts a missing hint as an error
        self.row(f"twice the load it can carry, {seconds} s", "accepted p99 ≤ 100 ms, the rest refused with a hint", "",
                 f"p99 {p99:.1f} ms; {r['answered']} answered, {refused} refused; memory {100 * growth:+.1f} %", holds,
                 f"{twice} requests of {batch} sentences a second, where {carried:.0f} are carried")

    def training(self):
        seconds = self.scale(10, 5)
        s = self.serve(role="both")
        idle = self.measure(self.at(s), "-c", 1, seconds=seconds)["latency_ms"]["p99"]
        request = train_pb2.TrainNamedEntityRecognitionModelRequest(
            model_name="next", epochs=10_000, train_rate=0.9, data_set=servers.ner_data(1500))
        records = s.train.TrainNamedEntityRecognitionModel(request)
        job = next(r for r in records if r.state == train_pb2.RUNNING).job_id
        beside = self.measure(self.at(s), "-c", 1, seconds=seconds)
        s.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=job, discard_checkpoint=True))
        loops = [subprocess.Popen(["nice", "-n", "10", "timeout", str(seconds + 10), sys.executable, "-c", "while True: pass"])
                 for _ in range(max(1, len(os.sched_getaffinity(0)) - 1))]
        try:
            busy = self.measure(self.at(s), "-c", 1, seconds=seconds)["latency_ms"]["p99"]
        finally:
            for loop in loops:
                loop.terminate()
                loop.wait()
        p99 = beside["latency_ms"]["p99"]
        self.row("prediction while a job trains", "p99 ≤ 5x idle", "", f"p99 {p99:.2f} ms, {p99 / idle:.2f}x",
                 p99 <= 5 * idle and not beside["errors"],
                 "one client; --train-nice 10 and --train-threads (one fewer than the cores) as by default. What the "
                 f"machine makes of it: beside empty loops as nice and as many, in place of the job, p99 {busy:.2f} ms, {busy / idle:.2f}x")

    def memory(self):
        reloads, predictions = self.scale(1000, 100), self.scale(1_000_000, 100_000)
        s = self.serve()
        name = model_pb2.ModelRequest(model_name="ner")
        question = predict_pb2.PredictNamedEntityRecognitionRequest(model_name="ner", text=["서울에 간다"] * 8)

        def reload(times):
            for _ in range(times):
                s.models.UnloadModel(name)
                s.models.LoadModel(name)
                s.predict.PredictNamedEntityRecognition(question)
        reload(50)
        before = self.resident(s)
        reload(reloads)
        growth = self.resident(s) / before - 1
        self.row(f"{reloads:,} model reloads", "memory < +5 %", "", f"{100 * growth:+.1f} %", growth < 0.05,
                 "unloaded, loaded, asked; from the 50th reload on")

        def predict(total):
            while self.metric(s, "bib_predict_texts_total") < total:
                r = self.measure(self.at(s), "-c", 4, "-b", 64, model="small", texts=self.random_texts, seconds=5, warmup=0)
                assert not r["errors"], r["errors"]
        predict(predictions / 10)
        before = self.resident(s)
        predict(predictions * 1.1)
        growth, done = self.resident(s) / before - 1, int(self.metric(s, "bib_predict_texts_total") - predictions / 10)
        self.row(f"{predictions:,} predictions of random lengths", "memory < +5 %", "",
                 f"{100 * growth:+.1f} % over {done:,}", growth < 0.05, "1 to 90 words a text, 64 texts a request")
