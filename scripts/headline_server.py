"""scripts/headline --via server: the workload through a training and a prediction server a device, as the original ran it."""
import json
import pathlib
import statistics
import sys
import time

import grpc
import model_pb2
import predict_pb2
import predict_pb2_grpc
import server as servers
import train_pb2
import train_pb2_grpc
from headline_checks import TASKS, compared
from measure import fail, run

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def examples(bib, task, path):
    """The corpus as the messages of a request hold it: spans in code points, or a label."""
    if task == "ner":
        lines = run([bib, "convert", path, "--to", "jsonl", "--nested", "all"], capture_output=True, text=True).stdout
        return [{"text": r["text"], "entities": r["spans"]} for r in map(json.loads, lines.splitlines())]
    lines = run([bib, "convert", path, "--to", "jsonl"], capture_output=True, text=True).stdout
    return [{"text": r["text"], "label": r["label"]} for r in map(json.loads, lines.splitlines())]


class ServedWorkload:
    """All runs of one device."""

    def __init__(self, bib, data, out, device, threads, repeats):
        self.bib, self.data, self.out, self.device, self.repeats = bib, data, out, device, repeats
        self.threads = ["--train-threads", threads, "--workers", threads] if threads else []

    def serve(self, role):
        return servers.Server(self.out / self.device, "--device", self.device, *map(str, self.threads), role=role)

    def train(self, server, task):
        data_set = examples(self.bib, task, self.data / f"{task}_train.txt")
        print(f"headline: {self.device} server: {task.upper()}: one epoch of {len(data_set)} examples", file=sys.stderr)
        began = time.perf_counter()
        # The original client's lines, but for the port.
        channel = grpc.insecure_channel(f'0.0.0.0:{server.port}')
        stub = train_pb2_grpc.TrainProviderStub(channel)
        if task == "tc":
            request = train_pb2.TrainTextClassificationModelRequest(model_name='tc_train', epochs=1, train_rate=1, data_set=data_set)
            records = stub.TrainTextClassificationModel(request)
        else:
            request = train_pb2.TrainNamedEntityRecognitionModelRequest(model_name='ner_train', epochs=1, train_rate=1, data_set=data_set)
            records = stub.TrainNamedEntityRecognitionModel(request)
        last = [r for r in records][-1]
        seconds = time.perf_counter() - began
        channel.close()
        if last.status != "Done":
            fail(f"the training of {last.model_name} ended as {last.status}")
        return {"seconds": seconds, "as_the_server_says": last.estimate}

    def predict(self, server, task):
        """Medians: with the model loaded by the call, and with it in memory; and how the answers are beside `bib predict`'s."""
        model, output = self.out / self.device / "models" / f"{task}_train" / "1" / "model.bib", self.out / f"{task}.jsonl"
        run([self.bib, "predict", model, self.data / f"{task}_predict.txt", "-o", output, "--device", self.device])
        expected = output.read_text(encoding="utf-8")
        texts = [json.loads(line)["text"] for line in expected.splitlines()]
        stub = predict_pb2_grpc.PredictProviderStub(grpc.insecure_channel(f"127.0.0.1:{server.port}", UNLIMITED))
        ner = task == "ner"
        request = (predict_pb2.PredictNamedEntityRecognitionRequest if ner else predict_pb2.PredictTextClassificationRequest)(
            model_name=f"{task}_train", text=texts)
        call = stub.PredictNamedEntityRecognition if ner else stub.PredictTextClassification
        whole, after, load = [], [], []
        for _ in range(self.repeats):
            server.models.UnloadModel(model_pb2.ModelRequest(model_name=f"{task}_train"))
            for times in (whole, after):
                began = time.perf_counter()
                reply = call(request)
                times.append(time.perf_counter() - began)
                load.append(reply.timing.load)
        served = run([self.bib, "client", "--server", f"127.0.0.1:{server.port}", "predict", task, f"{task}_train", "-"],
                     input="".join(t + "\n" for t in texts), capture_output=True, text=True).stdout
        answers = compared(served, expected)
        print(f"headline: {self.device} server: {task.upper()}: {answers['equal_answers']} of {len(texts)} served answers equal bib "
              f"predict's, byte for byte; {answers['flips']} differ in more than scores", file=sys.stderr)
        return {"from_load": statistics.median(whole), "after_load": statistics.median(after), "load": max(load), **answers}

    def all(self, result, keep):
        """Fills the result; keep() after each figure."""
        pathlib.Path(self.out / self.device / "models").mkdir(parents=True)
        started = []
        try:
            started.append(trainer := self.serve("train"))
            for task in TASKS:
                result[task] = {"epoch": self.train(trainer, task)}
                keep()
            started.append(predictor := self.serve("predict"))
            for task in TASKS:
                result[task]["predict"] = self.predict(predictor, task)
                keep()
        finally:
            for s in started:
                if s.process.poll() is None:
                    s.end()
