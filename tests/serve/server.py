"""Starts the real server on free loopback ports and ends it again; small data, small models."""
import atexit
import contextlib
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

import grpc
import job_pb2
import job_pb2_grpc
import model_pb2
import model_pb2_grpc
import predict_pb2
import predict_pb2_grpc
import train_pb2
import train_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

BIB = os.environ['BIB_COMMAND']
SOURCE = pathlib.Path(os.environ['BIB_SOURCE'])
PATIENCE = 120  # seconds until a test gives up; nothing here takes a tenth of it on an idle machine

SMALL = {'ner': {'hidden': '12', 'syllable': '8', 'bigram': '8', 'jamo': '4', 'shape': '4', 'batch': '8', 'warmup': '5'},
         'tc': {'syllable': '8', 'bigram': '8', 'jamo': '4', 'filters': '8', 'batch': '16'}}


def lines(path, count):
    return (SOURCE / path).read_text(encoding='utf-8').splitlines()[:count]


def ner_data(count=80):
    """The sample corpus as texts with spans in code points; nested ones too, as the trainer gets them from the file."""
    if not _ner_data:
        done = run_bib('convert', str(SOURCE / 'data/ner/train.txt'), '--to', 'jsonl', '--nested', 'all')
        assert done.returncode == 0, done.stderr
        _ner_data.extend({'text': r['text'], 'entities': r['spans']} for r in parse(done.stdout))
    return _ner_data[:count]


_ner_data = []


def tc_data(count=80):
    out = []
    for line in lines('data/tc/train.txt', count):
        text, *labels = re.findall(r"'([^']*)'", line)
        out.append({'text': text, 'label': next(l for l in labels if l)})
    return out


def run_bib(*arguments, text=None):
    return subprocess.run([BIB, *arguments], input=text, capture_output=True, text=True, timeout=PATIENCE)


class Server:
    """`bib serve` as a process; its log is read line by line."""

    def __init__(self, folder, *arguments, role='both', wait=True, env=None, prefix=()):
        self.folder = pathlib.Path(folder)
        command = [*prefix, BIB, 'serve', '--models', str(self.folder / 'models'), '--port', '0', '--http', '0', '--role', role,
                   '--drain-seconds', '0', '--poll-seconds', '0.05', '--checkpoint-seconds', '0', *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors='replace',
                                        env={**os.environ, **(env or {})}, cwd=self.folder)
        self.log, self._news = [], queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.channel = None
        if wait:
            self.port = int(self.wait_for(r'gRPC on .*:(\d+)')[1])
            self.http = int(self.wait_for(r'HTTP on .*:(\d+)')[1])
            self.wait_for('ready|waiting for a model')
            self.channel = grpc.insecure_channel(f'127.0.0.1:{self.port}')

    def _read(self):
        for line in self.process.stderr:
            self._news.put(line)
        self._news.put(None)

    def wait_for(self, pattern):
        """The first line of the log that matches, already there or still to come."""
        for line in self.log:
            if m := re.search(pattern, line):
                return m
        while True:
            line = self._news.get(timeout=PATIENCE)
            if line is None:
                raise AssertionError(f'the server ended; {pattern!r} is not in its log:\n' + ''.join(self.log))
            self.log.append(line)
            if m := re.search(pattern, line):
                return m

    @property
    def train(self):
        return train_pb2_grpc.TrainProviderStub(self.channel)

    @property
    def jobs(self):
        return job_pb2_grpc.JobProviderStub(self.channel)

    @property
    def predict(self):
        return predict_pb2_grpc.PredictProviderStub(self.channel)

    @property
    def models(self):
        return model_pb2_grpc.ModelProviderStub(self.channel)

    def health(self, service=''):
        stub = health_pb2_grpc.HealthStub(self.channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE).status

    def get(self, path, body=None, headers=None):
        request = urllib.request.Request(f'http://127.0.0.1:{self.http}{path}', method='POST' if body else 'GET',
                                         data=body and body.encode(), headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return reply.status, reply.read().decode(), reply.headers
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode(), e.headers

    def end(self, how=signal.SIGTERM):
        """Sends the signal (None: it ends by itself) and returns the exit code."""
        if self.channel:
            self.channel.close()
        if how and self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=PATIENCE)
        self._reader.join(PATIENCE)
        self.process.stderr.close()
        return code


def ner_request(name='ner', count=80, epochs=2, **options):
    return train_pb2.TrainNamedEntityRecognitionModelRequest(
        model_name=name, epochs=epochs, train_rate=0.8, data_set=ner_data(count),
        options=train_pb2.TrainOptions(settings=SMALL['ner'], **options))


def tc_request(name='tc', count=80, epochs=2, data_set=None, **options):
    return train_pb2.TrainTextClassificationModelRequest(
        model_name=name, epochs=epochs, train_rate=0.8, data_set=data_set or tc_data(count),
        options=train_pb2.TrainOptions(settings=SMALL['tc'], **options))


class ServerTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='bib_serve_'))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def mounted(self, how):
        """A command prefix that runs the server with its volume mounted as `how` says, where others do not see it."""
        (self.folder / 'models').mkdir(exist_ok=True)
        prefix = ['unshare', '-m' if os.geteuid() == 0 else '-rm', 'sh', '-c', how + ' && exec "$@"', 'sh']
        trial = subprocess.run([*prefix, 'true'], cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE)
        if trial.returncode != 0:
            self.skipTest(f'this system does not let a process mount for itself: {trial.stderr.strip()}')
        return prefix

    def serve(self, *arguments, **more):
        server = Server(self.folder, *arguments, **more)
        self.stack.callback(server.end, signal.SIGKILL)
        return server

    def until(self, condition):
        """Looks again and again until the condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.002)  # between two looks

    def refused(self, code, call):
        """Runs the call, which must fail with the code; returns the error."""
        with self.assertRaises(grpc.RpcError) as caught:
            result = call()
            if hasattr(result, '__iter__') and hasattr(result, 'code'):
                list(result)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception


_models = {}


def records_of(stream):
    """Without the heartbeats that a slow machine may cause."""
    return [r for r in stream if not r.heartbeat]


class JobTest(ServerTest):
    def model_bytes(self, name, version='1'):
        return (self.folder / 'models' / name / version / 'model.bib').read_bytes()

    def job_id(self, stream):
        return dict(stream.initial_metadata())['bib-job-id']

    def start(self, server, request):
        """Starts a job and waits for its first record."""
        call = (server.train.TrainNamedEntityRecognitionModel
                if isinstance(request, train_pb2.TrainNamedEntityRecognitionModelRequest)
                else server.train.TrainTextClassificationModel)
        stream = call(request)
        return stream, next(stream)


def model_file(task):
    """A small model of the task, trained once by `bib train`."""
    if task not in _models:
        folder = pathlib.Path(tempfile.mkdtemp(prefix='bib_model_'))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        data = folder / 'train.txt'
        data.write_text('\n'.join(lines(f'data/{task}/train.txt', 200)) + '\n', encoding='utf-8')
        flags = [f for k, v in SMALL[task].items() for f in ('--set', f'{k}={v}')]
        done = run_bib('train', task, '--train', str(data), '--epochs', '4', '-o', str(folder / 'model'), '-q', *flags)
        assert done.returncode == 0, done.stderr
        _models[task] = folder / 'model'
    return _models[task]


def publish(folder, name, task, version=1):
    target = pathlib.Path(folder) / 'models' / name / str(version)
    target.mkdir(parents=True)
    shutil.copy(model_file(task), target / 'model.bib')
    return target / 'model.bib'


def ask(server, version='', **more):
    """A prediction by the model `ner`."""
    return server.predict.PredictNamedEntityRecognition(predict_pb2.PredictNamedEntityRecognitionRequest(
        model_name='ner', version=version, text=['서울'], **more))


def ner_json(text, result, unit='codepoint'):
    """A reply as `bib predict` prints it."""
    entities = []
    for e in result.entities:
        item = {'start': e.start, 'end': e.end, 'label': e.label, 'text': e.text}
        if e.HasField('score'):
            item['score'] = e.score
        entities.append(item)
    return {'text': text, 'entities': entities, 'unit': unit}


def tc_json(text, result):
    return {'text': text, 'labels': list(result.labels),
            'classes': [{'label': c.label, 'score': c.score} for c in result.classes]}


def parse(text):
    return [json.loads(line) for line in text.splitlines()]
