"""The end comes, whatever does not stop: a job, a model that cannot be read, gRPC without threads."""
import contextlib
import signal
import socket
import subprocess
import threading
import time
import unittest

import grpc
import job_pb2
import model_pb2
import predict_pb2
from server import *

MOST = 30  # seconds; the server gives what is left 10 once it has drained


class EndTest(JobTest):
    def end_in_time(self, server, meanwhile=lambda: None):
        """The exit code after SIGTERM, and the last line of the log."""
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        meanwhile()
        code = server.end(None)
        self.assertLess(time.monotonic() - begin, MOST)
        while (line := server._news.get(timeout=PATIENCE)) is not None:
            server.log.append(line)
        return code, server.log[-1]

    def blocked(self, path):
        """A file that who opens it waits for."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)

    def test_a_job_that_does_not_stop_is_left_to_the_next_server(self):
        server = self.serve('--drain-timeout', '1', role='train')
        _, first = self.start(server, tc_request(epochs=100_000))
        call = server.train.TrainTextClassificationModel(tc_request())
        job_id = self.job_id(call)
        request = self.folder / f'models/.state/jobs/{job_id}/request'
        request.unlink()
        self.blocked(request)
        server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=first.job_id))
        server.wait_for(f'job {job_id} .* begins')
        def watched():
            error = self.refused(grpc.StatusCode.UNAVAILABLE, lambda: call)
            self.assertIn('goes on with the next one', error.details())
        code, line = self.end_in_time(server, watched)
        self.assertEqual(code, 143)
        self.assertIn('error: the end waits for a thread of a job', line)
        server.wait_for(f'warning: job {job_id} .* does not stop')
        server = self.serve(role='train')
        server.wait_for(f'job {job_id} .* goes on')
        server.wait_for(f'job {job_id} .* begins')
        self.assertFalse((request.parent / 'deaths').exists())  # it is not taken for one that brings servers down

    def test_a_model_that_is_never_read_keeps_no_server(self):
        publish(self.folder, 'ner', 'ner')
        server = self.serve('--drain-timeout', '1', '--log-format', 'json', role='predict')
        self.blocked(self.folder / 'models/slow/1/model.bib')
        loading = server.models.LoadModel.future(model_pb2.ModelRequest(model_name='slow'))
        self.until(lambda: 'bib_calls_in_flight 1\n' in server.get('/metrics')[1])
        code, line = self.end_in_time(server)
        self.assertEqual(code, 143)
        line = json.loads(line)
        self.assertEqual((list(line), line['level']), (['time', 'level', 'message'], 'error'))
        self.assertRegex(line['time'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$')
        self.assertIn('the end waits for', line['message'])
        self.assertIsNotNone(loading.exception(timeout=PATIENCE))

    def test_at_the_start_too(self):
        self.blocked(self.folder / 'models/slow/1/model.bib')
        server = self.serve('--drain-timeout', '0', role='predict', wait=False)
        server.wait_for('HTTP on')
        code, line = self.end_in_time(server)
        self.assertEqual(code, 143)
        self.assertIn('the end waits for the start', line)

    def test_a_client_that_sends_for_ever_keeps_no_server(self):
        server = self.serve('--allow-empty', role='predict')
        with socket.create_connection(('127.0.0.1', server.http), timeout=PATIENCE) as client:
            client.sendall(b'POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n')

            def send():
                with contextlib.suppress(OSError):
                    while True:
                        client.sendall(b'x')
                        time.sleep(0.05)  # slowly, but within the patience that one has with a client
            sender = threading.Thread(target=send)
            sender.start()
            code, line = self.end_in_time(server)
            sender.join(PATIENCE)
        self.assertEqual(code, 143)
        self.assertIn('drained', line)  # not by the last resort

    def without_threads(self):
        """A command prefix under which a server can later be refused threads: not for root."""
        if os.geteuid() != 0:
            return []
        subprocess.run(['chmod', '-R', 'a+rwX', str(self.folder)], check=True)
        prefix = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
        trial = subprocess.run([*prefix, BIB, '--version'], capture_output=True, text=True, timeout=PATIENCE)
        if trial.returncode != 0:
            self.skipTest(f'no other user may run {BIB}: {trial.stderr.strip()}')
        return prefix

    def test_a_server_that_gets_no_more_threads_ends(self):
        publish(self.folder, 'ner', 'ner')
        # A leak check at the end, of a build for AddressSanitizer, would begin a thread.
        asan = os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0'
        prefix = [*self.without_threads(), 'env', f'ASAN_OPTIONS={asan}']
        server = self.serve('--drain-timeout', '1', prefix=prefix)
        subprocess.run([*prefix, 'prlimit', '--pid', str(server.process.pid), '--nproc=1:1'], check=True, timeout=PATIENCE)
        channels = [grpc.insecure_channel(f'127.0.0.1:{server.port}', options=[('bib.number', i)]) for i in range(20)]
        calls = [model_pb2_grpc.ModelProviderStub(c).ListModels.future(model_pb2.ListModelsRequest(), timeout=3)
                 for c in channels]
        question = predict_pb2.PredictNamedEntityRecognitionRequest(model_name='ner', text=['서울'])
        self.assertEqual(len(server.predict.PredictNamedEntityRecognition(question, timeout=PATIENCE).results), 1)
        for call in calls:
            call.exception(timeout=PATIENCE)  # refused or unanswered: gRPC answers them by threads of its own
        self.assertEqual(self.end_in_time(server)[0], 143)
        for channel in channels:
            channel.close()


if __name__ == '__main__':
    unittest.main()
