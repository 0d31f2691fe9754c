"""Prediction: the same answers as `bib predict`, however they are asked for."""
import http.client
import json
import threading
import time

import grpc
import model_pb2
import open_inference_pb2 as oip
import open_inference_pb2_grpc
import predict_pb2
from server import *


class PredictTest(ServerTest):
    def setUp(self):
        super().setUp()
        publish(self.folder, 'entities', 'ner')
        publish(self.folder, 'classes', 'tc')
        self.server = self.serve(role='predict')
        self.texts = {t: lines(f'data/{t}/predict.txt', 60) + ['', '😀 서울', 'a\tb'] for t in ('ner', 'tc')}

    def expected(self, task, texts, *flags):
        done = run_bib('predict', str(model_file(task)), '--from', 'text', '--format', 'jsonl', *flags,
                       text='\n'.join(texts) + '\n')
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_answers_equal_bib_predict(self):
        ner = self.server.predict.PredictNamedEntityRecognition(predict_pb2.PredictNamedEntityRecognitionRequest(
            model_name='entities', text=self.texts['ner']))
        self.assertEqual([ner_json(t, r) for t, r in zip(self.texts['ner'], ner.results, strict=True)],
                         parse(self.expected('ner', self.texts['ner'])))
        self.assertGreater(sum(len(r.entities) for r in ner.results), 0)
        self.assertEqual(ner.model_version, '1')
        tc = self.server.predict.PredictTextClassification(predict_pb2.PredictTextClassificationRequest(
            model_name='classes', text=self.texts['tc'], all_classes=True))
        self.assertEqual([tc_json(t, r) for t, r in zip(self.texts['tc'], tc.results, strict=True)],
                         parse(self.expected('tc', self.texts['tc'], '--scores', 'all')))
        top = self.server.predict.PredictTextClassification(predict_pb2.PredictTextClassificationRequest(
            model_name='classes', text=self.texts['tc'][:1], top_k=3))
        self.assertEqual(len(top.results[0].classes), 3)
        self.assertEqual(top.results[0].classes, tc.results[0].classes[:3])

    def test_http_answers_the_same_bytes(self):
        for task, name in (('ner', 'entities'), ('tc', 'classes')):
            expected = self.expected(task, self.texts[task][:20]).splitlines(keepends=True)
            for text, line in zip(self.texts[task][:20], expected, strict=True):
                status, body, headers = self.server.get('/v1/predict', json.dumps({'model': name, 'text': text}))
                self.assertEqual((status, body), (200, line))
                self.assertIn('compute=', headers['bib-timing'])
        self.assertEqual(self.server.get('/v1/predict', '{"model":"none","text":"a"}')[0], 404)
        self.assertEqual(self.server.get('/v1/predict', '{"model":"entities"}')[0], 400)
        self.assertEqual(self.server.get('/v1/predict', 'nonsense')[0], 400)
        self.assertEqual(self.server.get('/v1/predict', '{"model":"entities","text":7}')[0], 400)
        self.assertEqual(self.server.get('/v1/predict', '{"model":"entities","version":1,"text":"a"}')[0], 200)
        self.assertEqual(self.server.get('/v1/predict', '{"model":"entities","version":-1,"text":"a"}')[0], 400)

    def test_http_clients_that_keep_their_connections_leave_some_for_probes(self):
        clients = [http.client.HTTPConnection('127.0.0.1', self.server.http) for _ in range(100)]
        for _ in range(2):  # the second time on the same ones: all of them are being served
            for client in clients:
                client.request('GET', '/healthz')
                sock = client.sock
                self.assertEqual(client.getresponse().read(), b'ok\n')
                self.assertIs(client.sock, sock)
        self.assertEqual(self.server.get('/readyz')[0], 200)
        for client in clients:
            client.close()

    def test_http_takes_what_curl_sends_up_to_the_limit(self):
        text = ' '.join(self.texts['ner'])[:20_000]  # `curl -d` calls it a form
        for headers in ({'Content-Type': 'application/x-www-form-urlencoded'}, {'Content-Type': 'application/json'}):
            status, body, _ = self.server.get('/v1/predict', json.dumps({'model': 'entities', 'texts': [text] * 2}), headers)
            self.assertEqual(status, 200, body)
            self.assertEqual(len(json.loads(body)['results']), 2)
        form = {'Content-Type': 'multipart/form-data; boundary=x'}
        self.assertEqual(self.server.get('/v1/predict', '--x\r\n\r\na\r\n--x--\r\n', form)[0], 400)
        small = self.serve('--max-message-bytes', '4096', role='predict')
        status = small.get('/v1/predict', json.dumps({'model': 'entities', 'text': 'x' * 5000}))[0]
        self.assertEqual(status, 413)

    def test_offsets_readings_and_scores(self):
        request = predict_pb2.PredictNamedEntityRecognitionRequest(
            model_name='entities', text=['😀 ' + t for t in self.texts['ner'][:20]], nbest=2)
        for unit, name in ((0, 'codepoint'), (1, 'utf16'), (2, 'byte')):
            request.offsets = unit
            for text, result in zip(request.text, self.server.predict.PredictNamedEntityRecognition(request).results):
                self.assertEqual(len(result.alternatives), 2)
                for e in result.entities:
                    coded = {'codepoint': text, 'utf16': text.encode('utf-16-le'), 'byte': text.encode()}[name]
                    size = 2 if name == 'utf16' else 1
                    part = coded[e.start * size:e.end * size]
                    part = part if name == 'codepoint' else part.decode('utf-16-le' if name == 'utf16' else 'utf-8')
                    self.assertEqual(part, e.text)
                    self.assertTrue(0 < e.score <= 1.0001)
        request.no_scores = True
        results = self.server.predict.PredictNamedEntityRecognition(request).results
        self.assertFalse(any(e.HasField('score') for r in results for e in r.entities))

    def test_many_at_once_are_batched_and_answered_as_if_alone(self):
        texts = self.texts['ner'] * 4
        alone = parse(self.expected('ner', texts))
        answers = [None] * len(texts)

        def ask(first):
            for i in range(first, len(texts), 16):
                reply = self.server.predict.PredictNamedEntityRecognition(
                    predict_pb2.PredictNamedEntityRecognitionRequest(model_name='entities', text=[texts[i]]))
                answers[i] = ner_json(texts[i], reply.results[0])
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(PATIENCE)
        for got, want in zip(answers, alone, strict=True):
            self.assertEqual(got, want)

    def test_stream_answers_every_request_by_its_id(self):
        def requests():
            for i, text in enumerate(self.texts['ner']):
                if i % 7 == 3:
                    yield predict_pb2.PredictRequest(
                        id=i, text_classification={'model_name': 'classes', 'text': [text]})
                elif i % 7 == 5:
                    yield predict_pb2.PredictRequest(
                        id=i, named_entity_recognition={'model_name': 'nobody', 'text': [text]})
                else:
                    yield predict_pb2.PredictRequest(
                        id=i, named_entity_recognition={'model_name': 'entities', 'text': [text]})
        replies = {r.id: r for r in self.server.predict.PredictStream(requests(), timeout=PATIENCE)}
        self.assertEqual(sorted(replies), list(range(len(self.texts['ner']))))
        alone = parse(self.expected('ner', self.texts['ner']))
        for i, reply in replies.items():
            kind = reply.WhichOneof('reply')
            self.assertEqual(kind, {3: 'text_classification', 5: 'error'}.get(i % 7, 'named_entity_recognition'))
            if kind == 'error':
                self.assertEqual(reply.error.code, grpc.StatusCode.NOT_FOUND.value[0])
            elif kind == 'named_entity_recognition':
                self.assertEqual(ner_json(self.texts['ner'][i], reply.named_entity_recognition.results[0]), alone[i])

    def test_wrong_requests_say_field_and_index(self):
        predict = self.server.predict
        ask = predict_pb2.PredictNamedEntityRecognitionRequest
        E = grpc.StatusCode
        self.refused(E.INVALID_ARGUMENT, lambda: predict.PredictNamedEntityRecognition(ask(model_name='entities')))
        for name in ('', '../entities', '/etc', '.state', 'a/b', 'a\\b', '-x', 'x' * 200):
            self.refused(E.INVALID_ARGUMENT, lambda: predict.PredictNamedEntityRecognition(ask(model_name=name, text=['a'])))
        self.refused(E.INVALID_ARGUMENT, lambda: predict.PredictNamedEntityRecognition(
            ask(model_name='entities', version='../1', text=['a'])))
        self.refused(E.NOT_FOUND, lambda: predict.PredictNamedEntityRecognition(ask(model_name='other', text=['a'])))
        self.refused(E.NOT_FOUND, lambda: predict.PredictNamedEntityRecognition(
            ask(model_name='entities', version='7', text=['a'])))
        wrong_task = self.refused(E.FAILED_PRECONDITION, lambda: predict.PredictNamedEntityRecognition(
            ask(model_name='classes', text=['a'])))
        self.assertIn('text classification', wrong_task.details())
        long = self.refused(E.INVALID_ARGUMENT, lambda: predict.PredictNamedEntityRecognition(
            ask(model_name='entities', text=['a', 'b' * (1 << 20) + 'c'])))
        self.assertIn('text[1]', long.details())
        details = dict(long.trailing_metadata())['grpc-status-details-bin']
        self.assertIn(b'google.rpc.BadRequest', details)
        many = self.refused(E.INVALID_ARGUMENT, lambda: predict.PredictNamedEntityRecognition(
            ask(model_name='entities', text=['a'] * 10001)))
        self.assertIn('10001', many.details())

    def test_open_inference_protocol(self):
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(self.server.channel)
        self.assertTrue(stub.ServerLive(oip.ServerLiveRequest()).live)
        self.assertTrue(stub.ServerReady(oip.ServerReadyRequest()).ready)
        self.assertEqual(stub.ServerMetadata(oip.ServerMetadataRequest()).name, 'bib')
        self.assertTrue(stub.ModelReady(oip.ModelReadyRequest(name='entities')).ready)
        self.assertFalse(stub.ModelReady(oip.ModelReadyRequest(name='nobody')).ready)
        metadata = stub.ModelMetadata(oip.ModelMetadataRequest(name='classes'))
        self.assertEqual([o.name for o in metadata.outputs], ['label', 'score', 'probabilities'])
        texts = self.texts['ner'][:10]
        raw = b''.join(len(t.encode()).to_bytes(4, 'little') + t.encode() for t in texts)
        tensor = {'name': 'text', 'datatype': 'BYTES', 'shape': [len(texts)]}
        with_contents = {**tensor, 'contents': {'bytes_contents': [t.encode() for t in texts]}}
        expected = [r['entities'] for r in parse(self.expected('ner', texts))]
        for request in (oip.ModelInferRequest(model_name='entities', id='7', inputs=[with_contents]),
                        oip.ModelInferRequest(model_name='entities', id='7', inputs=[tensor], raw_input_contents=[raw])):
            reply = stub.ModelInfer(request)
            out = {o.name: o for o in reply.outputs}
            self.assertEqual(reply.id, '7')
            self.assertEqual([json.loads(e) for e in out['entities'].contents.bytes_contents], expected)
            self.assertEqual(list(out['entity_count'].contents.int_contents), [len(e) for e in expected])
        reply = stub.ModelInfer(oip.ModelInferRequest(model_name='classes', inputs=[with_contents]))
        out = {o.name: o for o in reply.outputs}
        labels = [r['labels'][0] for r in parse(self.expected('tc', texts))]
        self.assertEqual([b.decode() for b in out['label'].contents.bytes_contents], labels)
        size = out['probabilities'].shape[1]
        values = out['probabilities'].contents.fp32_contents
        for i in range(len(texts)):
            self.assertAlmostEqual(sum(values[i * size:(i + 1) * size]), 1, places=4)
        for broken in (raw[:-1], raw[:2], b''):
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: stub.ModelInfer(
                oip.ModelInferRequest(model_name='entities', inputs=[tensor], raw_input_contents=[broken])))

    def test_open_inference_protocol_names_versions_and_outputs(self):
        publish(self.folder, 'classes', 'tc', 2)
        self.server.wait_for('version 2 serves')
        self.server.models.SetAlias(model_pb2.SetAliasRequest(model_name='classes', alias='stable', version='2'))
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(self.server.channel)
        ready = lambda name, version: stub.ModelReady(oip.ModelReadyRequest(name=name, version=version)).ready
        for version, there in (('', True), ('2', True), ('latest', True), ('stable', True), ('1', False), ('9', False)):
            self.assertEqual(ready('classes', version), there, version)
        self.assertFalse(ready('../classes', ''))
        self.assertFalse(ready('classes', '../1'))
        metadata = stub.ModelMetadata(oip.ModelMetadataRequest(name='classes', version='1'))  # loads it, as ModelInfer does
        self.assertEqual(list(metadata.versions), ['1', '2'])
        self.assertTrue(ready('classes', '1'))
        for name, version in (('none', ''), ('classes', '9')):
            self.refused(grpc.StatusCode.NOT_FOUND,
                         lambda: stub.ModelMetadata(oip.ModelMetadataRequest(name=name, version=version)))

        def infer(*outputs, raw=()):
            request = oip.ModelInferRequest(model_name='classes', raw_input_contents=raw, outputs=[
                oip.ModelInferRequest.InferRequestedOutputTensor(name=o) for o in outputs])
            request.inputs.add(name='text', datatype='BYTES', shape=[1]).contents.bytes_contents.append('서울'.encode())
            return [o.name for o in stub.ModelInfer(request).outputs]
        self.assertEqual(infer(), ['label', 'score', 'probabilities'])
        self.assertEqual(infer('score', 'label'), ['score', 'label'])
        for wrong in (lambda: infer('label', 'entities'), lambda: infer('label', 'score', 'label'),
                      lambda: infer(raw=[b'', b''])):
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, wrong)
        page = self.server.get('/metrics')[1]
        self.assertIn('bib_calls_total{method="ModelMetadata",code="0"} 1\n', page)
        self.assertIn('bib_calls_total{method="ModelMetadata",code="5"} 2\n', page)

    def test_timing_and_metrics(self):
        reply, call = self.server.predict.PredictNamedEntityRecognition.with_call(
            predict_pb2.PredictNamedEntityRecognitionRequest(model_name='entities', text=['서울']))
        self.assertIn('queue=', dict(call.trailing_metadata())['bib-timing'])
        self.assertEqual(reply.timing.load, 0)
        self.assertGreater(reply.timing.compute, 0)
        status, page, _ = self.server.get('/metrics')
        self.assertEqual(status, 200)
        self.assertIn('bib_predict_texts_total 1\n', page)
        self.assertIn('bib_calls_total{method="PredictNamedEntityRecognition",code="0"} 1\n', page)
        for stage in ('queue', 'tokenise', 'compute', 'decode', 'total'):
            self.assertIn(f'bib_predict_seconds_bucket{{stage="{stage}",le="+Inf"}} 1\n', page)
            self.assertGreater(float(re.search(rf'bib_predict_seconds_sum{{stage="{stage}"}} (.*)', page)[1]), 0)
        self.assertRegex(page, r'bib_resident_bytes [0-9.e+]+\n')
        self.assertRegex(page, r'bib_build_info\{version="[0-9.]+"\} 1\n')
        self.assertLess(abs(float(re.search(r'^process_start_time_seconds (.*)', page, re.M)[1]) - time.time()), PATIENCE)

    def test_the_page_of_metrics_is_one(self):
        """What `promtool check metrics` asks for, and that every series of a family stands under its head."""
        for _ in range(2):
            self.server.get('/v1/predict', '{"model":"entities","text":"a"}')
        page = self.server.get('/metrics')[1]
        families, series = {}, set()
        for line in page.splitlines():
            if line.startswith('# HELP '):
                name, text = line[7:].split(' ', 1)
                self.assertTrue(text and name not in families, line)
            elif line.startswith('# TYPE '):
                name, families[name] = line[7:].split(' ')
                current = name
            else:
                key, value = line.rsplit(' ', 1)
                float(value)
                self.assertNotIn(key, series)
                series.add(key)
                base = key.split('{')[0]
                if families[current] == 'histogram':
                    base = re.sub('_(bucket|sum|count)$', '', base)
                self.assertEqual(base, current, line)
                self.assertRegex(base, '^[a-z][a-z_]*$')
        for name, kind in families.items():
            self.assertEqual(name.endswith('_total'), kind == 'counter', name)
            self.assertNotRegex(name, '_(ms|milliseconds|kb|mb|minutes)(_|$)')


if __name__ == '__main__':
    unittest.main()
