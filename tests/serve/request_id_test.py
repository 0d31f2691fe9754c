"""The id of a request: the client's or a new one, in the answer, in its error, in what the log says about it."""
import grpc
import job_pb2
import model_pb2
import open_inference_pb2
import open_inference_pb2_grpc
import predict_pb2
from server import *

E = grpc.StatusCode
NEW = r'^[0-9a-f]{16}$'
KEY = 'x-request-id'


def question(name='ner'):
    return predict_pb2.PredictNamedEntityRecognitionRequest(model_name=name, text=['서울'])


class RequestIdTest(JobTest):
    def setUp(self):
        super().setUp()
        publish(self.folder, 'ner', 'ner')

    def id_of(self, call):
        return dict(call.initial_metadata())[KEY]

    def given(self, server, id=None, name='ner'):
        call = server.predict.PredictNamedEntityRecognition.future(question(name), metadata=id and [(KEY, id)])
        call.exception(timeout=PATIENCE)
        return self.id_of(call)

    def test_a_clients_id_is_kept_where_it_is_sane(self):
        server = self.serve(role='predict')
        for id in ('a', 'order-7', '4bf92f3577b34da6a3ce929d0e0e4736', 'a.b_c:d/e+f=', 'x' * 128):
            self.assertEqual(self.given(server, id), id)
            self.assertEqual(server.get('/v1/predict', '{"text":"a"}', {KEY: id})[2][KEY], id)
            self.assertEqual(server.get('/healthz', headers={KEY: id})[2][KEY], id)
        new = [self.given(server, id) for id in (None, '', 'two words', '"', 'x' * 129, '<b>')]
        new += [server.get('/v1/predict', '{"text":"a"}', {KEY: id})[2][KEY] for id in ('', 'a"b', '서울'.encode(), 'x' * 129)]
        new += [server.get('/metrics')[2][KEY] for _ in range(20)]
        for id in new:
            self.assertRegex(id, NEW)
        self.assertEqual(len(set(new)), len(new))

    def test_every_kind_of_call_gives_it_back(self):
        server = self.serve()
        mine = [(KEY, 'mine')]
        job = server.train.TrainNamedEntityRecognitionModel(ner_request('other', epochs=1), metadata=mine)
        job_id = self.job_id(job)
        self.assertEqual(self.id_of(job), 'mine')
        list(job)
        inference = open_inference_pb2_grpc.GRPCInferenceServiceStub(server.channel)
        asked = predict_pb2.PredictRequest(id=1, named_entity_recognition=question())
        for stream in (server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=job_id), metadata=mine),
                       server.predict.PredictStream(iter([asked]), metadata=mine)):
            self.assertEqual(self.id_of(stream), 'mine')
            self.assertGreater(len(list(stream)), 0)
        for call in (server.models.ListModels.future(model_pb2.ListModelsRequest(), metadata=mine),
                     inference.ServerLive.future(open_inference_pb2.ServerLiveRequest(), metadata=mine),
                     inference.ModelMetadata.future(open_inference_pb2.ModelMetadataRequest(name='ner'), metadata=mine)):
            self.assertIsNone(call.exception(timeout=PATIENCE))
            self.assertEqual(self.id_of(call), 'mine')

    def test_errors_name_it(self):
        server = self.serve()
        inference = open_inference_pb2_grpc.GRPCInferenceServiceStub(server.channel)
        mine = [(KEY, 'mine-7')]
        for call in (lambda: server.predict.PredictNamedEntityRecognition(question('none'), metadata=mine),
                     lambda: server.predict.PredictNamedEntityRecognition(question('../none'), metadata=mine),
                     lambda: server.models.GetModel(model_pb2.ModelRequest(model_name='none'), metadata=mine),
                     lambda: server.jobs.GetJob(job_pb2.JobRequest(job_id='none'), metadata=mine),
                     lambda: server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id='none'), metadata=mine),
                     lambda: inference.ModelMetadata(open_inference_pb2.ModelMetadataRequest(name='none'), metadata=mine)):
            with self.assertRaises(grpc.RpcError) as caught:
                result = call()
                list(result)
            self.assertEqual(self.id_of(caught.exception), 'mine-7')
            details = dict(caught.exception.trailing_metadata())['grpc-status-details-bin']
            self.assertIn(b'google.rpc.RequestInfo', details)
            self.assertIn(b'mine-7', details)
            self.assertEqual(b'google.rpc.BadRequest' in details, caught.exception.code() == E.INVALID_ARGUMENT)
        # A message of some length is not said twice: clients read 8 KB of trailers.
        error = self.refused(E.NOT_FOUND, lambda: server.jobs.GetJob(job_pb2.JobRequest(job_id='x' * 6000), metadata=mine))
        self.assertEqual(self.id_of(error), 'mine-7')
        for path, body in (('/v1/predict', '{"model":"none","text":"a"}'), ('/v1/predict', '['), ('/nowhere', None)):
            _, answer, headers = server.get(path, body, {KEY: 'mine-7'})
            self.assertEqual((json.loads(answer)['error']['request_id'], headers[KEY]), ('mine-7', 'mine-7'))

    def test_the_log_names_it(self):
        publish(self.folder, 'bad', 'ner').write_bytes(b'no model')
        for format, last in (('text', r'\[request {}\]$'), ('json', r'"request_id":"{}"\}}$')):
            server = self.serve('--log-format', format, '--log-texts', role='predict')
            self.given(server, 'one')
            server.wait_for('predict ner version 1: 서울.*' + last.format('one'))
            self.given(server, 'two', 'bad')
            server.wait_for('PredictNamedEntityRecognition failed.*' + last.format('two'))
            server.get('/v1/predict', '{"model":"ner","text":"부산"}', {KEY: 'three'})
            server.wait_for('predict ner version 1: 부산.*' + last.format('three'))
            server.models.DeleteModel(model_pb2.DeleteModelRequest(model_name='ner', version='1'), metadata=[(KEY, 'four')])
            server.wait_for('model ner version 1 deleted.*' + last.format('four'))
            self.assertEqual(server.end(), 143)
            server.wait_for('drained("}|)$')
            publish(self.folder, 'ner', 'ner')


if __name__ == '__main__':
    unittest.main()
