"""The model repository when something is wrong with it: damaged models, aliases of nothing, folders that cannot be read."""
import resource

import grpc
import model_pb2
import predict_pb2
from grpc_health.v1 import health_pb2
from server import *

SERVING = health_pb2.HealthCheckResponse.SERVING


class ModelFaultsTest(ServerTest):
    def test_a_damaged_version_is_refused_and_the_old_one_serves(self):
        publish(self.folder, 'ner', 'ner', 1)
        server = self.serve(role='predict')
        whole = model_file('ner').read_bytes()
        broken = self.folder / 'models' / 'ner' / '2.tmp'
        broken.mkdir()
        (broken / 'model.bib').write_bytes(whole[:-100] + bytes(100))
        broken.rename(self.folder / 'models' / 'ner' / '2')
        server.wait_for('version 2 is refused, version 1 keeps serving')
        self.assertEqual(ask(server).model_version, '1')
        self.refused(grpc.StatusCode.DATA_LOSS, lambda: ask(server, '2'))
        self.refused(grpc.StatusCode.DATA_LOSS,
                     lambda: server.models.LoadModel(model_pb2.ModelRequest(model_name='ner', version='2')))
        model = server.models.GetModel(model_pb2.ModelRequest(model_name='ner'))
        self.assertNotEqual(model.versions[1].error, '')
        self.assertEqual(server.health('bib.model.ner'), SERVING)

    def test_what_is_wrong_with_the_server_is_in_its_log(self):
        (self.folder / 'models/bad/1').mkdir(parents=True)
        (self.folder / 'models/bad/1/model.bib').write_bytes(b'no model')
        server = self.serve('--allow-empty', role='predict')
        for _ in range(3):
            self.refused(grpc.StatusCode.DATA_LOSS, lambda: server.predict.PredictTextClassification(
                predict_pb2.PredictTextClassificationRequest(model_name='bad', text=['a'])))
        self.assertEqual(server.get('/v1/predict', '{"model":"bad","text":"a"}')[0], 500)
        self.assertRegex(server.get('/metrics')[1], r'bib_model_load_failures_total [1-9]')
        server.end()
        log = ''.join(server.log + list(iter(server._news.get_nowait, None)))
        self.assertEqual(len(re.findall('PredictTextClassification failed: .*model.bib', log)), 1, log)  # not one a request
        self.assertEqual(len(re.findall('POST /v1/predict failed: .*model.bib', log)), 1, log)

    def test_a_version_that_takes_the_place_of_a_damaged_one_serves(self):
        publish(self.folder, 'ner', 'ner', 1)
        server = self.serve()
        broken = publish(self.folder, 'ner', 'ner', '2.tmp')
        broken.write_bytes(broken.read_bytes()[:-100])
        broken.parent.rename(self.folder / 'models' / 'ner' / '2')
        server.wait_for('version 2 is refused, version 1 keeps serving')
        server.models.DeleteModel(model_pb2.DeleteModelRequest(model_name='ner', version='2'))
        whole = model_file('ner').read_bytes()
        model = server.models.ImportModel(iter([model_pb2.ModelChunk(model_name='ner', data=whole)]))
        self.assertEqual([(v.version, v.error) for v in model.versions], [('1', ''), ('2', '')])
        self.assertEqual(ask(server).model_version, '2')

    def test_a_volume_that_cannot_be_looked_at_takes_no_model_away(self):
        publish(self.folder, 'ner', 'ner')
        server = self.serve(role='predict')
        self.assertEqual(ask(server).model_version, '1')
        limit = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, limit[1]))
        publish(self.folder, 'ner', 'ner', 2)
        server.wait_for('stays as it is: .*Too many open files')
        self.assertEqual(ask(server).model_version, '1')
        self.refused(grpc.StatusCode.UNAVAILABLE, lambda: server.models.ListModels(model_pb2.ListModelsRequest()))
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limit)
        server.wait_for('version 2 serves instead of 1')
        (self.folder / 'models').rename(self.folder / 'unmounted')
        self.assertEqual(list(server.models.ListModels(model_pb2.ListModelsRequest()).models), [])
        server.process.send_signal(signal.SIGHUP)
        server.wait_for('SIGHUP')
        self.assertEqual(ask(server, load=predict_pb2.NEVER).model_version, '2')
        (self.folder / 'unmounted').rename(self.folder / 'models')
        server.models.DeleteModel(model_pb2.DeleteModelRequest(model_name='ner'))
        server.wait_for('is no longer served')

    def test_a_model_that_cannot_be_looked_at_stops_no_other(self):
        publish(self.folder, 'ner', 'ner')
        publish(self.folder, 'tc', 'tc')
        server = self.serve(role='predict')
        self.assertEqual(ask(server).model_version, '1')
        loop = self.folder / 'models/ner/3'
        loop.symlink_to('3')  # a ring of links: it can be neither followed nor called absent
        publish(self.folder, 'tc', 'tc', 2)
        server.wait_for('model tc version 2 serves instead of 1')
        server.wait_for('model ner, version 1 keeps serving: .*3 cannot be looked at')
        self.assertEqual(ask(server).model_version, '1')
        ner, tc = server.models.ListModels(model_pb2.ListModelsRequest()).models
        self.assertIn('cannot be looked at', ner.error)
        told = run_bib('client', '--server', f'127.0.0.1:{server.port}', 'models', 'list').stdout.splitlines()
        self.assertRegex(told[0], r'^ner\t-\tunseen\t.*cannot be looked at')
        self.assertEqual([line.split('\t')[:2] for line in told[1:]], [['tc', '1'], ['tc', '2']])
        self.assertEqual(([v.version for v in tc.versions], tc.error), (['1', '2'], ''))
        loop.unlink()
        self.until(lambda: not server.models.ListModels(model_pb2.ListModelsRequest()).models[0].error)

    def test_an_export_that_cannot_be_read_is_no_whole_file(self):
        publish(self.folder, 'ner', 'ner')
        (self.folder / 'models/ner/1/model.bib').unlink()
        (self.folder / 'models/ner/1/model.bib').symlink_to('/proc/self/mem')  # whose first byte cannot be read
        server = self.serve()
        self.refused(grpc.StatusCode.DATA_LOSS,
                     lambda: server.models.ExportModel(model_pb2.ModelRequest(model_name='ner', version='1')))

    def test_a_burst_for_a_damaged_model_reads_it_once(self):
        publish(self.folder, 'ner', 'ner')
        (self.folder / 'models/bad/1').mkdir(parents=True)
        (self.folder / 'models/bad/1/model.bib').write_bytes(b'no model')
        server = self.serve('--preload', 'ner', role='predict')
        calls = [server.predict.PredictTextClassification.future(
            predict_pb2.PredictTextClassificationRequest(model_name='bad', text=['a'])) for _ in range(200)]
        for call in calls:
            self.assertEqual(call.exception(timeout=PATIENCE).code(), grpc.StatusCode.DATA_LOSS)
        failures = int(re.search(r'bib_model_load_failures_total (\d+)', server.get('/metrics')[1])[1])
        self.assertGreater(failures, 0)
        self.assertLess(failures, 100)

    def test_a_refused_version_is_tried_again(self):
        publish(self.folder, 'ner', 'ner')
        server = self.serve(role='predict')
        staged = publish(self.folder, 'ner', 'ner', '2.tmp')
        whole = staged.read_bytes()
        staged.write_bytes(bytes(len(whole)))
        os.utime(staged, (1, 1))
        staged.parent.rename(self.folder / 'models/ner/2')
        server.wait_for('version 2 is refused, version 1 keeps serving')
        (self.folder / 'part').write_bytes(whole)
        os.utime(self.folder / 'part', (1, 1))  # the server takes it for the same file
        (self.folder / 'part').rename(self.folder / 'models/ner/2/model.bib')
        server.wait_for('version 2 serves instead of 1')

    def test_an_alias_that_names_no_version_changes_nothing(self):
        publish(self.folder, 'ner', 'ner', 1)
        stable = self.folder / 'models' / 'ner' / 'stable.alias'
        stable.write_text('1')
        server = self.serve('--poll-seconds', '1', role='predict')
        publish(self.folder, 'ner', 'ner', 2)
        for content in ('', '9', 'one'):  # an editor's truncated file, a version that is gone, a mistake
            stable.write_text(content)
            server.wait_for(f"version 1 keeps serving: .*stable.alias holds '{content}', which is no version")
            self.assertEqual(ask(server).model_version, '1')
        self.refused(grpc.StatusCode.FAILED_PRECONDITION,
                     lambda: server.models.LoadModel(model_pb2.ModelRequest(model_name='ner')))
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: ask(server, 'stable'))
        self.refused(grpc.StatusCode.NOT_FOUND, lambda: ask(server, 'canary'))
        self.assertEqual(ask(server, 'latest').model_version, '2')
        server.models.SetAlias(model_pb2.SetAliasRequest(model_name='ner', alias='stable', version='2'))
        self.assertEqual(ask(server).model_version, '2')

    def test_a_model_whose_stable_version_is_unknown_is_not_served(self):
        publish(self.folder, 'ner', 'ner', 1)
        stable = self.folder / 'models' / 'ner' / 'stable.alias'
        stable.write_text('3')
        server = self.serve('--allow-empty', role='predict')
        server.wait_for('model ner is not served: ')
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: ask(server))
        stable.unlink()
        server.wait_for('model ner version 1 serves')
        self.assertEqual(ask(server).model_version, '1')

    def test_folders_whose_names_are_no_text_are_passed_over(self):
        models = publish(self.folder, 'ner', 'ner').parent.parent.parent
        os.makedirs(os.fsencode(models) + b'/\xff\xfe/1')
        shutil.copy(model_file('ner'), os.fsencode(models) + b'/\xff\xfe/1/model.bib')
        with open(os.fsencode(models) + b'/ner/\xff.alias', 'w') as alias:
            alias.write('1')
        server = self.serve(role='predict')
        listed = server.models.ListModels(model_pb2.ListModelsRequest()).models
        self.assertEqual([(m.model_name, dict(m.aliases)) for m in listed], [('ner', {})])

    def test_what_killed_servers_left_goes_after_a_day(self):
        models = publish(self.folder, 'tc', 'tc').parent.parent.parent
        left = [models / '.import-1', models / 'tc/.new-1', models / 'tc/.gone-7', models / '.import-2', models / 'tc/.new-2']
        for path in left:
            path.mkdir() if path.parent.name == 'tc' else path.write_bytes(b'half')
        for path in left[:3]:
            os.utime(path, (time.time() - 90_000,) * 2)
        self.serve(role='predict')
        self.assertEqual([path.exists() for path in left], [False] * 3 + [True] * 2)
        self.assertTrue((models / 'tc/1/model.bib').exists())

    def test_what_an_alias_names_stays_while_the_volume_cannot_be_looked_at(self):
        for version in range(1, 5):
            publish(self.folder, 'ner', 'ner', version)
        (self.folder / 'models/ner/canary.alias').write_text('2')
        server = self.serve('--idle-unload-seconds', '0.2', '--poll-seconds', '0.02', role='predict')
        self.assertEqual([ask(server, v).model_version for v in ('2', '3')], ['2', '3'])
        limit = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, limit[1]))
        server.wait_for('stays as it is: .*Too many open files')
        time.sleep(0.5)  # nothing is to happen, for longer than the versions are idle
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limit)
        server.wait_for('version 3 leaves memory')
        self.assertEqual([line for line in server.log if 'version 2 leaves memory' in line], [])


if __name__ == '__main__':
    unittest.main()
