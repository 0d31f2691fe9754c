"""The server itself: overload, deadlines, draining, who may connect and do what."""
import contextlib
import socket
import subprocess
import threading
import time

import grpc
import job_pb2
import model_pb2
import open_inference_pb2
import predict_pb2
import train_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from server import *

E = grpc.StatusCode


def question(text='서울', count=1):
    return predict_pb2.PredictNamedEntityRecognitionRequest(model_name='ner', text=[text] * count)


class ServerBehaviour(ServerTest):
    def setUp(self):
        super().setUp()
        publish(self.folder, 'ner', 'ner')

    def overload(self, server, timeout, count, calls=24):
        """Many large requests at once; returns their errors (None: answered)."""
        long = ' '.join(lines('data/ner/predict.txt', 20))
        futures = [server.predict.PredictNamedEntityRecognition.future(question(long, count), timeout=timeout)
                   for _ in range(calls)]
        return [f.exception(timeout=PATIENCE) for f in futures]

    def test_overload_is_refused_with_a_hint_and_the_rest_is_answered(self):
        server = self.serve('--queue-ms', '1', '--workers', '1', role='predict')
        errors = self.overload(server, PATIENCE, count=50)
        refused = [e for e in errors if e]
        self.assertLess(len(refused), len(errors))
        self.assertGreater(len(refused), 0)
        for e in refused:
            self.assertEqual(e.code(), E.RESOURCE_EXHAUSTED)
            trailers = dict(e.trailing_metadata())
            self.assertGreater(int(trailers['grpc-retry-pushback-ms']), 0)
            self.assertIn(b'google.rpc.RetryInfo', trailers['grpc-status-details-bin'])
        self.assertEqual(len(server.predict.PredictNamedEntityRecognition(question()).results), 1)
        self.assertIn(f'bib_predict_rejected_total {len(refused)}\n', server.get('/metrics')[1])

    def test_as_many_requests_as_twice_the_workers_are_never_refused(self):
        server = self.serve('--queue-ms', '0.001', '--workers', '1', role='predict')
        body = json.dumps({'model': 'ner', 'texts': [' '.join(lines('data/ner/predict.txt', 20))] * 20})
        codes = []

        def ask_again():
            for _ in range(20):
                codes.append(server.get('/v1/predict', body)[0])
        threads = [threading.Thread(target=ask_again) for _ in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(PATIENCE)
        self.assertEqual(codes, [200] * 40)

    def test_overload_over_http_says_when_to_come_back(self):
        server = self.serve('--queue-ms', '1', '--workers', '1', role='predict')
        body = json.dumps({'model': 'ner', 'texts': [' '.join(lines('data/ner/predict.txt', 20))] * 50})
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(server.get('/v1/predict', body))) for _ in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(PATIENCE)
        self.assertEqual({code for code, _, _ in answers}, {200, 429})
        for code, _, headers in answers:
            if code == 429:
                self.assertGreater(int(headers['Retry-After']), 0)

    @unittest.skipIf('ASAN_OPTIONS' in os.environ, 'AddressSanitizer keeps what is freed')
    def test_memory_of_a_burst_goes_back_when_nothing_is_asked(self):
        server = self.serve('--queue-ms', '1e9', '--workers', '1', role='predict')

        def resident():
            return float(re.search(r'\nbib_resident_bytes (.*)', server.get('/metrics')[1])[1])
        long = '가 ' * 1000
        calls = [server.predict.PredictNamedEntityRecognition.future(question(long, 20), timeout=PATIENCE) for _ in range(150)]
        most, open_calls = resident(), list(calls)
        while open_calls:
            open_calls = [c for c in open_calls if not c.done()]
            most = max(most, resident())
        self.assertEqual([c.exception() for c in calls], [None] * len(calls))
        self.until(lambda: resident() < most - (16 << 20))

    def test_it_says_what_it_computes_on(self):
        server = self.serve(role='predict')
        self.assertRegex(server.wait_for('device .*')[0], r'device (cpu \((base|avx2|avx512|neon)|cuda:0)')
        server = self.serve('--device', 'cpu', role='predict')
        self.assertRegex(server.wait_for('device .*')[0], r'device cpu \((base|avx2|avx512|neon)\)')

    def test_expired_and_cancelled_requests_leave_the_queue(self):
        # One worker, and a request that keeps it for long in a single batch.
        server = self.serve('--queue-ms', '1e9', '--workers', '1', '--batch-texts', '1000000', '--batch-units', '1000000000',
                            role='predict')
        call = server.predict.PredictNamedEntityRecognition
        long = question(' '.join(lines('data/ner/predict.txt', 20)), 3000)
        for how, counter in (('deadline', 'expired'), ('cancel', 'cancelled')):
            before = call.future(long)
            self.until(lambda: 'bib_workers_busy 1\n' in server.get('/metrics')[1])
            waiting = [call.future(question(), timeout=0.02 if how == 'deadline' else None) for _ in range(8)]
            if how == 'cancel':
                self.until(lambda: 'bib_queue_requests 8\n' in server.get('/metrics')[1])
            for f in waiting:
                if how == 'cancel':
                    f.cancel()
                else:
                    self.assertEqual(f.exception(timeout=PATIENCE).code(), E.DEADLINE_EXCEEDED)
            self.assertEqual(len(before.result(timeout=PATIENCE).results), 3000)
            idle = ('bib_calls_in_flight 0\n', 'bib_workers_busy 0\n')
            self.until(lambda: all(line in server.get('/metrics')[1] for line in idle))
            page = server.get('/metrics')[1]
            caught = int(re.search(rf'bib_predict_{counter}_total (\d+)', page)[1])
            self.assertTrue(0 < caught <= 8, page)
            # What was caught has cost no computation.
            texts = int(re.search(r'bib_predict_texts_total (\d+)', page)[1])
            self.assertEqual(texts, 3000 if how == 'deadline' else 6000)
        self.assertEqual(len(call(question()).results), 1)

    def test_drain_serves_on_then_ends_with_143(self):
        server = self.serve('--drain-seconds', '1', role='predict')
        stop, failed, answered = threading.Event(), [], []

        def load():
            while not stop.is_set():
                if server.health() != health_pb2.HealthCheckResponse.SERVING:
                    return  # as a load balancer does: no new calls to a server that is not ready
                try:
                    server.predict.PredictNamedEntityRecognition(question())
                    answered.append(1)
                except grpc.RpcError as e:
                    failed.append(e)
        threads = [threading.Thread(target=load) for _ in range(4)]
        for t in threads:
            t.start()
        while len(answered) < 20 and not failed:
            time.sleep(0.001)  # between two looks at the condition
        server.process.send_signal(signal.SIGTERM)
        server.wait_for('not ready any more')
        # Not ready, yet it serves; a proxy that keeps its connections is asked to open others.
        status, _, headers = server.get('/v1/predict', '{"model":"ner","text":"a"}')
        self.assertEqual((status, headers['Connection']), (200, 'close'))
        self.assertEqual(server.health(), health_pb2.HealthCheckResponse.NOT_SERVING)
        self.assertEqual(len(server.predict.PredictNamedEntityRecognition(question()).results), 1)
        for t in threads:
            t.join(PATIENCE)
        self.assertEqual(failed, [])
        server.wait_for('drained')
        self.assertEqual(server.end(None), 143)

    def frames(self, server):
        """The types of HTTP/2 frames that an idle client gets which answers none, until the server closes."""
        with socket.create_connection(('127.0.0.1', server.port), timeout=PATIENCE) as client:
            client.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            received = b''
            while data := client.recv(65536):
                received += data
        types = []
        while received:
            types.append(received[3])
            received = received[9 + int.from_bytes(received[:3], 'big'):]
        return types

    def test_a_client_that_has_gone_without_a_word_is_noticed(self):
        ping = 6
        self.assertIn(ping, self.frames(self.serve('--keepalive-seconds', '1', role='predict')))

    def test_clients_are_asked_to_connect_anew_and_lose_nothing_by_it(self):
        server = self.serve('--connection-seconds', '1', '--keepalive-seconds', '1', role='predict')
        ended = threading.Event()
        answers = []

        def ask():
            while not ended.is_set():
                answers.append(len(server.predict.PredictNamedEntityRecognition(question(), timeout=PATIENCE).results))
        client = threading.Thread(target=ask)
        client.start()
        go_away = 7
        self.assertIn(go_away, self.frames(server))
        self.assertIn(go_away, self.frames(server))
        ended.set()
        client.join()
        self.assertEqual(set(answers), {1})

    def test_a_hangup_ends_nothing_and_looks_for_models(self):
        server = self.serve('--poll-seconds', '3600', role='predict')
        publish(self.folder, 'ner', 'ner', 2)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for('SIGHUP')
        server.wait_for('version 2 serves instead of 1')
        server.process.send_signal(signal.SIGHUP)
        self.assertEqual(server.end(), 143)

    def test_a_server_that_is_ended_as_soon_as_it_is_ready_ends(self):
        for _ in range(10):  # several at a time, so that their threads get to run in any order
            started = [self.serve('--allow-empty', role='predict', wait=False) for _ in range(6)]
            for server in started:
                server.wait_for('ready')
                server.process.send_signal(signal.SIGTERM)
            self.assertEqual([server.end(None) for server in started], [143] * 6)

    def test_after_the_grace_new_work_is_refused_and_the_old_is_finished(self):
        server = self.serve('--workers', '1', role='predict')
        text = ' '.join(lines('data/ner/predict.txt', 20))
        before = server.predict.PredictNamedEntityRecognition.future(question(text, 3000), timeout=PATIENCE)
        self.until(lambda: 'bib_calls_in_flight 1\n' in server.get('/metrics')[1])
        server.process.send_signal(signal.SIGTERM)
        server.wait_for('new calls are refused')
        error = self.refused(E.UNAVAILABLE, lambda: server.predict.PredictNamedEntityRecognition(question()))
        self.assertIn('going down', error.details())
        self.assertEqual(len(before.result(timeout=PATIENCE).results), 3000)
        self.assertEqual(server.end(None), 143)

    def test_a_message_over_the_limit_says_so(self):
        server = self.serve('--max-message-bytes', '4096')
        calls = (lambda n: server.predict.PredictNamedEntityRecognition(question('x' * n)),
                 lambda n: server.train.TrainTextClassificationModel(train_pb2.TrainTextClassificationModelRequest(
                     model_name='m', epochs=1, train_rate=1, data_set=[{'text': 'x' * n, 'label': 'a'}])))
        for call in calls:
            error = self.refused(E.INVALID_ARGUMENT, lambda: call(4100))
            self.assertIn('request: has 41', error.details())
            self.refused(E.RESOURCE_EXHAUSTED, lambda: call(100_000))  # gRPC does not even read it

    def test_a_taken_port_is_an_error(self):
        server = self.serve(role='predict')
        second = Server(self.folder, '--port', str(server.port), role='predict', wait=False)
        second.wait_for('cannot listen')
        self.assertEqual(second.end(None), 1)
        second = Server(self.folder, '--http', str(server.http), role='predict', wait=False)
        second.wait_for('--http .*cannot be bound')
        self.assertEqual(second.end(None), 1)

    def test_addresses(self):
        if not socket.has_ipv6:
            self.skipTest('this system has no IPv6')
        for listen in ('::1', '[::1]'):
            server = self.serve('--listen', listen, '--allow-empty', role='predict')
            channel = grpc.insecure_channel(f'[::1]:{server.port}')
            stub = health_pb2_grpc.HealthStub(channel)
            self.assertEqual(stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE).status, 1)
            channel.close()
            with urllib.request.urlopen(f'http://[::1]:{server.http}/readyz', timeout=PATIENCE) as reply:
                self.assertEqual(reply.read(), b'ready\n')
            self.assertEqual(server.end(), 143)
        path = f'unix:{self.folder}/socket'
        server = self.serve('--listen', path, '--http', '-1', '--allow-empty', role='predict', wait=False)
        server.wait_for(f'gRPC on {path},')
        server.wait_for('ready')
        self.assertEqual(run_bib('client', '--server', path, 'health').stdout, 'SERVING\n')
        done = run_bib('serve', '--models', str(self.folder / 'models'), '--listen', path, '--http', '0')
        self.assertEqual(done.returncode, 2)
        self.assertIn('--http', done.stderr)

    def test_a_flag_whose_variable_was_empty_opens_nothing(self):
        for flag in ('--tokens', '--tls-cert', '--tls-key', '--tls-client-ca', '--models', '--state', '--datasets'):
            done = run_bib('serve', '--models', str(self.folder / 'models'), '--port', '0', flag, '')
            self.assertEqual(done.returncode, 2, flag)
            self.assertIn(flag, done.stderr)

    def test_every_flag_has_a_variable(self):
        server = self.serve('--allow-empty', role='predict', env={'BIB_NO_REFLECTION': '1'})
        stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
        self.refused(E.UNIMPLEMENTED, lambda: stub.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services='')])))

    def test_public_listening_needs_tls_or_insecure(self):
        for arguments in (['--listen', '0.0.0.0'], ['--listen', '::'], ['--tls-cert', 'x'], ['--tls-client-ca', 'x']):
            done = run_bib('serve', '--models', str(self.folder / 'models'), '--port', '0', *arguments)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn('--tls', done.stderr)

    def test_numbers_that_make_no_sense_are_refused(self):
        for flag, value in (('--workers', '-1'), ('--workers', '100000'), ('--train-threads', '-1'), ('--queue-ms', '-5'),
                            ('--queue-ms', 'nan'), ('--poll-seconds', 'nan'), ('--drain-timeout', '1e30'),
                            ('--max-queued-jobs', '-1'), ('--drain-seconds', '-1'), ('--drain-timeout', '-1'),
                            ('--max-text-bytes', '-5'), ('--max-texts', '0'), ('--max-streams', '-1')):
            done = run_bib('serve', '--models', str(self.folder / 'models'), '--port', '0', flag, value)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(flag, done.stderr)

    def test_tokens_have_roles(self):
        tokens = self.folder / 'tokens'
        # '#' begins a comment only where a word begins
        predict, train, admin = 'predict-0123456789', 'train-0123456789#abc', 'admin-0123456789abc'
        tokens.write_text(f'# who may what\npredict {predict} # the shop\ntrain {train}\nadmin {admin}\n')
        server = self.serve('--tokens', str(tokens))

        def ask(token):
            return server.predict.PredictNamedEntityRecognition(question(), metadata=token and [
                ('authorization', f'Bearer {token}')])

        def jobs(token):
            return server.jobs.ListJobs(job_pb2.ListJobsRequest(), metadata=[('authorization', f'Bearer {token}')])

        def unload(token):
            return server.models.UnloadModel(model_pb2.ModelRequest(model_name='ner'),
                                             metadata=[('authorization', f'Bearer {token}')])
        self.refused(E.UNAUTHENTICATED, lambda: ask(None))
        self.refused(E.UNAUTHENTICATED, lambda: ask(predict + 'x'))
        self.refused(E.UNAUTHENTICATED, lambda: ask(predict[:-1]))
        self.refused(E.UNAUTHENTICATED, lambda: jobs(train[:train.index('#')]))
        self.assertEqual(len(ask(predict).results), 1)
        self.refused(E.PERMISSION_DENIED, lambda: ask(train))
        self.refused(E.PERMISSION_DENIED, lambda: jobs(predict))
        jobs(train)
        self.refused(E.PERMISSION_DENIED, lambda: unload(predict))
        ask(admin), jobs(admin), unload(admin)
        for token, code, says in ((train, 0, ''), (predict, 1, 'PERMISSION_DENIED'), ('x' * 16, 1, 'UNAUTHENTICATED')):
            done = run_bib('client', '--server', f'127.0.0.1:{server.port}', '--token', token, 'jobs', 'list')
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(says, done.stderr)
        self.assertEqual(server.health(), health_pb2.HealthCheckResponse.SERVING)  # probes carry no token
        body = '{"model":"ner","text":"서울"}'
        self.assertEqual(server.get('/v1/predict', body)[0], 401)
        self.assertEqual(server.get('/v1/predict', body, {'Authorization': f'Bearer {train}'})[0], 403)
        self.assertEqual(server.get('/v1/predict', body, {'Authorization': f'Bearer {predict}'})[0], 200)
        stream = server.predict.PredictStream(iter([]))
        self.refused(E.UNAUTHENTICATED, lambda: stream)
        tokens.write_text('predict another-0123456789\n')  # read again without a restart
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                ask('another-0123456789')
                break
            except grpc.RpcError as e:
                self.assertEqual(e.code(), E.UNAUTHENTICATED)
                time.sleep(0.01)  # between two looks at the condition
        self.refused(E.UNAUTHENTICATED, lambda: ask(predict))
        for content in ('nobody 0123456789abcdef', 'predict short', 'predict', 'admin #put-the-token-here', ''):
            tokens.write_text(content)
            done = run_bib('serve', '--models', str(self.folder / 'models'), '--port', '0', '--tokens', str(tokens))
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(str(tokens), done.stderr)

    def test_every_call_asks_for_its_role(self):
        tokens = {role: f'{role}-0123456789abcdef' for role in ('predict', 'train', 'admin')}
        (self.folder / 'tokens').write_text(''.join(f'{role} {token}\r\n' for role, token in tokens.items()))
        server = self.serve('--tokens', str(self.folder / 'tokens'))
        least = {'PredictTextClassification': 'predict', 'PredictNamedEntityRecognition': 'predict', 'PredictStream': 'predict',
                 'ModelMetadata': 'predict', 'ModelInfer': 'predict', 'ListModels': 'predict', 'GetModel': 'predict',
                 'LoadModel': 'admin', 'UnloadModel': 'admin', 'DeleteModel': 'admin', 'SetAlias': 'admin',
                 'ExportModel': 'admin', 'ImportModel': 'admin',
                 'ServerLive': None, 'ServerReady': None, 'ServerMetadata': None, 'ModelReady': None}
        files = (train_pb2, job_pb2, predict_pb2, model_pb2, open_inference_pb2)
        services = [s for f in files for s in f.DESCRIPTOR.services_by_name.values()]
        self.assertEqual(len(services), 5)
        for method in (m for s in services for m in s.methods):
            role = least.get(method.name, 'train')
            for token in (None, 'unknown-0123456789', *tokens.values()):
                # An empty request; whether the call is a stream does not matter to a client that sends one message.
                call = server.channel.stream_stream(f'/{method.containing_service.full_name}/{method.name}')(
                    iter([b'']), timeout=PATIENCE, metadata=token and [('authorization', f'bearer {token}')])
                with contextlib.suppress(grpc.RpcError):
                    list(call)
                allowed = role is None or token in (tokens[role], tokens['admin'])
                known = token in tokens.values()
                if allowed:
                    self.assertNotIn(call.code(), (E.UNAUTHENTICATED, E.PERMISSION_DENIED), (method.full_name, token))
                else:
                    self.assertEqual(call.code(), E.PERMISSION_DENIED if known else E.UNAUTHENTICATED, (method.full_name, token))
        for path in ('/healthz', '/readyz', '/metrics'):
            self.assertEqual(server.get(path)[0], 200)
        status, _, headers = server.get('/v1/predict', '{}')
        self.assertEqual((status, headers['WWW-Authenticate']), (401, 'Bearer'))

    def test_nothing_a_client_sends_ends_the_server(self):
        server = self.serve()
        for service in ('bib.v1.PredictProvider/PredictNamedEntityRecognition', 'bib.v1.PredictProvider/PredictStream',
                        'bib.v1.TrainProvider/TrainTextClassificationModel', 'bib.v1.TrainProvider/UploadDataSet',
                        'bib.v1.JobProvider/WatchJob', 'bib.v1.ModelProvider/ImportModel',
                        'inference.GRPCInferenceService/ModelInfer', 'bib.v1.PredictProvider/Nothing'):
            for junk in (b'', b'\xff' * 50, b'\x0a\x05ab', bytes(range(256)), b'\x0a\x03\xff\xfe\xfd'):
                call = server.channel.stream_stream(f'/{service}')(iter([junk]), timeout=PATIENCE)
                try:
                    list(call)
                except grpc.RpcError:
                    pass  # any status will do, as long as one comes
                self.assertNotEqual(call.code(), E.UNAVAILABLE, f'{service} {junk!r}')
        self.assertEqual(len(server.predict.PredictNamedEntityRecognition(question()).results), 1)
        self.assertIsNone(server.process.poll())

    def test_logs_hold_no_text_of_users(self):
        server = self.serve()
        secret = '비밀번호'
        server.predict.PredictNamedEntityRecognition(question(secret))
        server.get('/v1/predict', '{"model":"ner","text":"%s","x":1}' % secret)
        self.refused(E.INVALID_ARGUMENT, lambda: server.predict.PredictNamedEntityRecognition(question(secret, 10001)))
        # Training: one that works, one refused at once, one that fails over what its data hold.
        list(server.train.TrainTextClassificationModel(tc_request(
            count=0, epochs=1, data_set=[{'text': f'{secret} {i}', 'label': f'{secret}{i % 2}'} for i in range(20)])))
        for labels in (['', 'a'], ['a', 'a']):
            data = [{'text': f'{secret} {i}', 'label': l} for i, l in enumerate(labels)]
            self.refused(E.INVALID_ARGUMENT,
                         lambda: server.train.TrainTextClassificationModel(tc_request(count=0, data_set=data)))
        broken = iter([train_pb2.DataSetChunk(name='data', data=f"['{secret}', '{secret}\n".encode())])
        options = {'dataset_id': server.train.UploadDataSet(broken).dataset_id}
        self.refused(E.INVALID_ARGUMENT, lambda: server.train.TrainTextClassificationModel(tc_request(count=0, **options)))
        self.assertEqual(server.end(), 143)
        while (line := server._news.get(timeout=PATIENCE)) is not None:
            server.log.append(line)
        self.assertNotIn(secret, ''.join(server.log))

    def test_the_log_as_json_says_how_grave_a_line_is(self):
        broken = publish(self.folder, 'bad', 'ner')
        broken.write_bytes(b'no model')
        server = self.serve('--log-format', 'json', '--log-texts', role='predict')
        server.wait_for('model bad version 1 is refused')
        server.predict.PredictNamedEntityRecognition(question('"서울"\n둘째 줄'))
        self.assertEqual(server.end(), 143)
        server.wait_for('drained')
        lines = [json.loads(line) for line in server.log]
        for line in lines:
            of_request = ['request_id'] if line['message'].startswith('predict ') else []
            self.assertEqual(list(line), ['time', 'level', 'message', *of_request])
            self.assertRegex(line['time'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$')
        self.assertEqual([(line['level'], 'bad' in line['message']) for line in lines if line['level'] != 'info'],
                         [('error', True)])
        self.assertTrue([line for line in lines if line['message'].endswith(': "서울"\n둘째 줄')])

    def test_texts_are_logged_when_asked_for(self):
        server = self.serve('--log-texts', role='predict')
        server.predict.PredictNamedEntityRecognition(question('적어 둔다'))
        server.wait_for('predict ner version 1: 적어 둔다')


if __name__ == '__main__':
    unittest.main()
