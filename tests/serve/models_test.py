"""The model repository: readiness, swaps, aliases, dictionaries, import and export."""
import threading

import grpc
import model_pb2
import predict_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from google.protobuf.descriptor_pool import DescriptorPool
from server import *

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class ModelsTest(ServerTest):
    def test_ready_with_the_first_model(self):
        server = self.serve(role='predict')
        self.assertEqual(server.health(), NOT_SERVING)
        self.assertEqual(server.health('bib.Live'), SERVING)
        self.assertEqual((server.get('/healthz')[0], server.get('/readyz')[0]), (200, 503))
        stub = health_pb2_grpc.HealthStub(server.channel)
        watch, whole = (stub.Watch(health_pb2.HealthCheckRequest(service=s), timeout=PATIENCE) for s in ('bib.model.ner', ''))
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        self.assertEqual(next(whole).status, NOT_SERVING)
        publish(self.folder, 'ner', 'ner')
        self.assertEqual(next(watch).status, SERVING)  # found by itself
        self.assertEqual(next(whole).status, SERVING)
        self.assertEqual((server.health(), server.get('/readyz')[0]), (SERVING, 200))
        server.models.UnloadModel(model_pb2.ModelRequest(model_name='ner'))
        self.assertEqual((next(watch).status, next(whole).status), (NOT_SERVING, NOT_SERVING))
        self.assertEqual(server.health(), NOT_SERVING)
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: ask(server, load=predict_pb2.NEVER))
        reply = ask(server)  # loads first, and says how long that took
        self.assertGreater(reply.timing.load, 0)
        self.assertEqual(ask(server).timing.load, 0)
        watch.cancel(), whole.cancel()

    def test_alive_by_http_while_the_models_of_the_start_are_loaded(self):
        publish(self.folder, 'ner', 'ner')
        slow = self.folder / 'models/slow/1/model.bib'
        slow.parent.mkdir(parents=True)
        os.mkfifo(slow)  # who opens it waits for the other end
        server = self.serve(role='predict', wait=False)
        server.http = int(server.wait_for(r'HTTP on .*:(\d+)')[1])
        self.assertEqual((server.get('/healthz')[0], server.get('/readyz')[0]), (200, 503))
        with open(slow, 'w'):
            server.wait_for('slow version 1 is refused')
            shutil.rmtree(self.folder / 'models/slow')
        server.wait_for(': ready')
        self.assertEqual(server.get('/readyz')[0], 200)

    def test_ready_with_every_model_that_preload_names(self):
        publish(self.folder, 'ner', 'ner')
        server = self.serve('--preload', 'tc, ner', role='predict')
        server.wait_for('waiting for a model in .*: tc')
        self.assertEqual((server.health('bib.model.ner'), server.health(), server.get('/readyz')[0]), (SERVING, NOT_SERVING, 503))
        self.assertEqual(len(ask(server).results), 1)
        publish(self.folder, 'tc', 'tc')
        self.until(lambda: server.health() == SERVING)
        server.models.DeleteModel(model_pb2.DeleteModelRequest(model_name='tc'))  # on purpose: the rest serves on
        self.until(lambda: server.health('bib.model.tc') == NOT_SERVING)
        self.assertEqual((server.health(), server.get('/readyz')[0]), (SERVING, 200))

    def test_versions_loaded_by_number_leave_memory_when_nobody_asks(self):
        for version in range(1, 8):
            publish(self.folder, 'ner', 'ner', version)
        server = self.serve('--idle-unload-seconds', '0.2', '--poll-seconds', '0.02', '--workers', '1', '--queue-ms', '1e9',
                            role='predict')

        def loaded():
            model = server.models.GetModel(model_pb2.ModelRequest(model_name='ner'))
            return [v.version for v in model.versions if v.loaded]
        server.models.LoadModel(model_pb2.ModelRequest(model_name='ner', version='1'))  # by hand: it stays
        server.models.SetAlias(model_pb2.SetAliasRequest(model_name='ner', alias='canary', version='2'))
        busy = server.predict.PredictNamedEntityRecognition.future(predict_pb2.PredictNamedEntityRecognitionRequest(
            model_name='ner', version='4', text=[' '.join(lines('data/ner/predict.txt', 20))] * 5000), timeout=PATIENCE)
        self.until(lambda: '4' in loaded())
        for version in ('2', '3', '5'):
            self.assertEqual(ask(server, version).model_version, version)
        for version in ('3', '5'):
            server.wait_for(f'model ner version {version} leaves memory')
        self.assertFalse(busy.done())  # what version 4 answers, which was asked for first, still
        self.assertEqual(loaded(), ['1', '2', '4', '7'])
        page = server.get('/metrics')[1]
        self.assertIn('bib_model_idle_unloads_total 2\n', page)
        self.assertIn('bib_model_versions_loaded 4\n', page)
        self.assertEqual(len(busy.result(timeout=PATIENCE).results), 5000)
        server.wait_for('model ner version 4 leaves memory')
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: ask(server, '3', load=predict_pb2.NEVER))
        self.assertGreater(ask(server, '3').timing.load, 0)
        self.until(lambda: loaded() == ['1', '2', '7'])

    def test_idleness_makes_no_server_unready(self):
        for version in range(1, 4):
            publish(self.folder, 'ner', 'ner', version)
        server = self.serve('--preload', 'none', '--idle-unload-seconds', '0.05', '--poll-seconds', '0.02', role='predict')
        for version in ('1', '2'):
            ask(server, version)
        server.wait_for('model ner version . leaves memory')
        ask(server, '3')
        self.until(lambda: 'bib_model_idle_unloads_total 2\n' in server.get('/metrics')[1])
        self.assertIn('bib_model_versions_loaded 1\n', server.get('/metrics')[1])
        self.assertEqual((server.health(), server.health('bib.model.ner')), (SERVING, SERVING))

    def test_a_model_that_is_unloaded_during_a_look_stays_unloaded(self):
        publish(self.folder, 'a', 'ner')
        publish(self.folder, 'b', 'ner')
        server = self.serve(role='predict')
        fifo = self.folder / 'models/a/2/model.bib'
        fifo.parent.mkdir()
        os.mkfifo(fifo)

        def waiting():
            """What the server's threads wait for, in the kernel's words."""
            found = set()
            for path in pathlib.Path(f'/proc/{server.process.pid}').glob('task/*/wchan'):
                with contextlib.suppress(OSError):  # a thread that has ended
                    found.add(path.read_text())
            return found
        if waiting() <= {'', '0'}:
            self.skipTest('this system does not say what a thread waits for')
        self.until(lambda: 'wait_for_partner' in waiting())  # the look is at a, with b before it
        server.models.UnloadModel(model_pb2.ModelRequest(model_name='b'))
        fifo.open('wb').close()
        server.wait_for('model a version 2 is refused')
        publish(self.folder, 'a', 'ner', 3)
        server.wait_for('model a version 3 serves')  # by the next look
        self.assertEqual(server.health('bib.model.b'), NOT_SERVING)

    def test_reflection_resolves_every_service(self):
        server = self.serve()
        database = ProtoReflectionDescriptorDatabase(server.channel)
        services = set(database.get_services())
        self.assertLessEqual({'bib.v1.TrainProvider', 'bib.v1.JobProvider', 'bib.v1.PredictProvider',
                              'bib.v1.ModelProvider', 'grpc.health.v1.Health', 'inference.GRPCInferenceService'}, services)
        pool = DescriptorPool(database)
        for name in services - {'grpc.reflection.v1alpha.ServerReflection'}:
            self.assertGreater(len(pool.FindServiceByName(name).methods), 0)

    def test_a_role_offers_its_services_only(self):
        publish(self.folder, 'ner', 'ner')
        both = {'bib.v1.ModelProvider', 'grpc.health.v1.Health', 'grpc.reflection.v1alpha.ServerReflection'}
        for role, own in (('train', {'bib.v1.TrainProvider', 'bib.v1.JobProvider'}),
                          ('predict', {'bib.v1.PredictProvider', 'inference.GRPCInferenceService'})):
            server = self.serve(role=role)
            self.assertEqual(set(ProtoReflectionDescriptorDatabase(server.channel).get_services()), both | own)
            server.end()
        server = self.serve('--no-reflection', role='train')
        self.refused(grpc.StatusCode.UNIMPLEMENTED, lambda: ask(server))
        self.refused(grpc.StatusCode.UNIMPLEMENTED,
                     lambda: ProtoReflectionDescriptorDatabase(server.channel).get_services())

    def test_swaps_under_load_fail_no_request(self):
        publish(self.folder, 'ner', 'ner', 1)
        server = self.serve(role='predict')
        stop, versions, failed = threading.Event(), set(), []

        def load():
            while not stop.is_set():
                try:
                    versions.add(ask(server).model_version)
                except grpc.RpcError as e:
                    failed.append(e)
        threads = [threading.Thread(target=load) for _ in range(4)]
        for t in threads:
            t.start()
        for version in range(2, 8):
            staged = publish(self.folder, 'ner', 'ner', f'{version}.tmp').parent
            staged.rename(staged.with_suffix(''))
            self.until(lambda: str(version) in versions or failed)
        stop.set()
        for t in threads:
            t.join(PATIENCE)
        self.assertEqual(failed, [])
        self.assertEqual(versions, {str(v) for v in range(1, 8)})

    def test_versions_swap_and_aliases(self):
        publish(self.folder, 'ner', 'ner', 1)
        server = self.serve(role='predict')
        self.assertEqual(ask(server).model_version, '1')
        publish(self.folder, 'ner', 'ner', 2)
        server.wait_for('version 2 serves instead of 1')
        self.assertEqual(ask(server).model_version, '2')
        self.assertEqual(ask(server, '1').model_version, '1')
        models = server.models
        models.SetAlias(model_pb2.SetAliasRequest(model_name='ner', alias='stable', version='1'))
        self.assertEqual(ask(server).model_version, '1')  # a roll-back is an alias
        self.assertEqual(ask(server, 'latest').model_version, '2')
        self.assertEqual(ask(server, 'stable').model_version, '1')
        listed = models.ListModels(model_pb2.ListModelsRequest()).models[0]
        self.assertEqual([v.version for v in listed.versions], ['1', '2'])
        self.assertEqual(dict(listed.aliases), {'stable': '1'})
        models.SetAlias(model_pb2.SetAliasRequest(model_name='ner', alias='stable', version=''))
        self.assertEqual(ask(server).model_version, '2')
        E = grpc.StatusCode
        for alias in ('latest', '3', '../x', ''):
            self.refused(E.INVALID_ARGUMENT, lambda: models.SetAlias(
                model_pb2.SetAliasRequest(model_name='ner', alias=alias, version='1')))
        self.refused(E.NOT_FOUND, lambda: models.SetAlias(
            model_pb2.SetAliasRequest(model_name='ner', alias='stable', version='9')))
        models.DeleteModel(model_pb2.DeleteModelRequest(model_name='ner', version='2'))
        self.assertEqual(ask(server).model_version, '1')
        models.DeleteModel(model_pb2.DeleteModelRequest(model_name='ner'))
        self.refused(E.NOT_FOUND, lambda: ask(server))
        self.assertEqual(server.health(), NOT_SERVING)

    def test_a_dictionary_beside_the_versions_is_followed(self):
        def put(terms):
            (self.folder / 'dictionary.new').write_text(terms)
            (self.folder / 'dictionary.new').rename(self.folder / 'models/ner/dictionary.tsv')

        def entities():
            reply = server.predict.PredictNamedEntityRecognition(predict_pb2.PredictNamedEntityRecognitionRequest(
                model_name='ner', text=['뷁뷁 간다', '비가 온다']))
            return [(e.text, e.label) for result in reply.results for e in result.entities if '뷁' in e.text]

        publish(self.folder, 'ner', 'ner')
        put('뷁뷁\tLC\thard\n')
        server = self.serve(role='predict')
        self.assertEqual(entities(), [('뷁뷁', 'LC')])  # from the start
        put('뷁뷁\tPS\thard\n비\tLC\n')
        server.wait_for('model ner version 1 has a dictionary of 2 terms')
        self.until(lambda: entities() == [('뷁뷁', 'PS')])
        put('뷁뷁\tLC\thard\n비\tXX\n')
        server.wait_for('is refused, what it was keeps serving: .*dictionary.tsv:2:3: error: the model has no label .XX.')
        self.assertEqual(entities(), [('뷁뷁', 'PS')])
        self.assertIn('bib_dictionary_load_failures_total 1\n', server.get('/metrics')[1])
        publish(self.folder, 'ner', 'ner', 2)  # another version reads the same file
        server.wait_for('dictionary of model ner version 2 is refused, none serves')
        put('뷁뷁\tOG\thard\n')
        self.until(lambda: entities() == [('뷁뷁', 'OG')])
        (self.folder / 'models/ner/dictionary.tsv').unlink()
        self.until(lambda: entities() != [('뷁뷁', 'OG')])
        server.wait_for('version 2 has a dictionary of 0 terms')

    def test_a_number_that_comes_again_is_another_file(self):
        """The newest version is deleted, and the next one gets its number: another server must not take it for the old."""
        other = self.folder / 'other.bib'
        flags = [f for k, v in SMALL['ner'].items() for f in ('--set', f'{k}={v}')]
        data = self.folder / 'data.txt'
        data.write_text('\n'.join(lines('data/ner/train.txt', 60)) + '\n', encoding='utf-8')
        done = run_bib('train', 'ner', '--train', str(data), '--epochs', '1', '-o', str(other), '-q', *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        first = publish(self.folder, 'ner', 'ner', 1).parent
        server = self.serve('--poll-seconds', '1', role='predict')
        old = ask(server, '1', nbest=1).results[0]
        staged = publish(self.folder, 'ner', 'ner', '1.tmp').parent
        shutil.copy(other, staged / 'model.bib')
        first.rename(first.with_suffix('.gone'))  # between two looks
        staged.rename(first)
        server.wait_for('version 1 serves from its new file')
        self.until(lambda: all(ask(server, v, nbest=1).results[0] != old for v in ('', '1')))
        listed = server.models.GetModel(model_pb2.ModelRequest(model_name='ner'))
        self.assertEqual([(v.version, v.loaded, v.error) for v in listed.versions], [('1', True, '')])

    def test_an_alias_written_by_hand_may_end_its_line(self):
        for version in (1, 2):
            publish(self.folder, 'ner', 'ner', version)
        (self.folder / 'models' / 'ner' / 'stable.alias').write_text('1\n')
        server = self.serve(role='predict')
        self.assertEqual(ask(server).model_version, '1')
        self.assertEqual(dict(server.models.ListModels(model_pb2.ListModelsRequest()).models[0].aliases), {'stable': '1'})

    def test_export_and_import(self):
        publish(self.folder, 'ner', 'ner')
        server = self.serve(role='predict')
        chunks = list(server.models.ExportModel(model_pb2.ModelRequest(model_name='ner')))
        data = b''.join(c.data for c in chunks)
        self.assertEqual(data, model_file('ner').read_bytes())

        def upload(name, content):
            yield model_pb2.ModelChunk(model_name=name)
            for i in range(0, len(content), 10000):
                yield model_pb2.ModelChunk(data=content[i:i + 10000])
        model = server.models.ImportModel(upload('copy', data))
        self.assertEqual([v.version for v in model.versions], ['1'])
        reply = server.predict.PredictNamedEntityRecognition(predict_pb2.PredictNamedEntityRecognitionRequest(
            model_name='copy', text=['서울']))
        self.assertEqual(reply.model_version, '1')
        self.refused(grpc.StatusCode.DATA_LOSS, lambda: server.models.ImportModel(upload('copy', data[:-1])))
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: server.models.ImportModel(upload('../copy', data)))
        self.assertEqual(sorted(p.name for p in (self.folder / 'models').iterdir()), ['copy', 'ner'])


if __name__ == '__main__':
    unittest.main()
