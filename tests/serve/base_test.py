"""Training that goes on from a published model: what `bib train --base` does, asked of a server."""
import unittest

import grpc
import job_pb2
import model_pb2
import train_pb2
from server import *

E = grpc.StatusCode


def tc(name='tc', epochs=2, data_set=None, settings=None, request_id='', **base):
    return train_pb2.TrainTextClassificationModelRequest(
        model_name=name, epochs=epochs, train_rate=0.8, data_set=data_set or tc_data(60),
        options=train_pb2.TrainOptions(settings=settings or {}, request_id=request_id, **base))


class BaseTest(ServerTest):
    def setUp(self):
        super().setUp()
        publish(self.folder, 'tc', 'tc')
        publish(self.folder, 'ner', 'ner')

    def inspected(self, name, version):
        done = run_bib('inspect', '--json', str(self.folder / 'models' / name / str(version) / 'model.bib'))
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def train(self, server, request):
        return list(server.train.TrainTextClassificationModel(request))[-1]

    def test_the_next_version_knows_what_the_base_does_and_what_is_new(self):
        server = self.serve()
        old = self.inspected('tc', 1)
        new = [{'text': f'주문 {i} 번이 오지 않았다', 'label': '지연'} for i in range(20)]
        last = self.train(server, tc(data_set=tc_data(60) + new, base_model='tc'))
        self.assertEqual((last.status, last.model_version), ('Done', '2'))
        self.assertIn('base_score', last.metrics)
        now = self.inspected('tc', 2)
        self.assertEqual(now['labels'], old['labels'] + ['지연'])
        self.assertEqual(now['metadata']['bib.base'], old['metadata']['bib.checksum'])
        last = self.train(server, tc('other', base_model='tc', base_version='1'))
        self.assertEqual(self.inspected('other', last.model_version)['metadata']['bib.base'], old['metadata']['bib.checksum'])
        self.assertEqual(list((self.folder / 'models/.state/jobs').iterdir()), [])

    def test_the_bytes_are_those_of_the_command(self):
        server = self.serve()
        data = self.folder / 'data.txt'
        data.write_text('\n'.join(lines('data/tc/train.txt', 100)) + '\n', encoding='utf-8')
        done = run_bib('client', '--server', f'127.0.0.1:{server.port}', 'train', 'tc', 'by_server', str(data), '--epochs', '2',
                       '--train-rate', '0.8', '--seed', '3', '--base', 'tc', '--base-version', 'latest')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('base_score', parse(done.stdout)[-1])
        done = run_bib('train', 'tc', '--train', str(data), '--epochs', '2', '--train-rate', '0.8', '--seed', '3', '-q',
                       '--base', str(self.folder / 'models/tc/1/model.bib'), '-o', str(self.folder / 'by_command.bib'))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.folder / 'models/by_server/1/model.bib').read_bytes(),
                         (self.folder / 'by_command.bib').read_bytes())

    def test_a_job_keeps_its_base_whatever_becomes_of_it(self):
        server = self.serve('--train-slots', '1')
        first = server.train.TrainTextClassificationModel(tc('first', epochs=100_000))
        next(first)
        request = tc('second', base_model='tc', request_id='once')
        second = server.train.TrainTextClassificationModel(request)
        job = dict(second.initial_metadata())['bib-job-id']
        checksum = self.inspected('tc', 1)['metadata']['bib.checksum']
        server.models.DeleteModel(model_pb2.DeleteModelRequest(model_name='tc'))
        server.end(signal.SIGKILL)
        server = self.serve('--train-slots', '1')
        again = server.train.TrainTextClassificationModel(request)  # the same job, though its base is gone
        self.assertEqual(dict(again.initial_metadata())['bib-job-id'], job)
        for j in server.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs:
            if j.job_id != job:
                server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=j.job_id))
        self.assertEqual(list(again)[-1].status, 'Done')
        self.assertEqual(self.inspected('second', 1)['metadata']['bib.base'], checksum)

    def test_wrong_bases_are_refused_before_there_is_a_job(self):
        server = self.serve(role='train')
        for code, what, request in (
                (E.NOT_FOUND, "model 'none' does not exist", tc(base_model='none')),
                (E.NOT_FOUND, "version '7'", tc(base_model='tc', base_version='7')),
                (E.FAILED_PRECONDITION, 'named-entity recognition', tc(base_model='ner')),
                (E.INVALID_ARGUMENT, 'options.base_model: is empty', tc(base_version='1')),
                (E.INVALID_ARGUMENT, 'options.base_model: may hold', tc(base_model='a/tc')),
                (E.INVALID_ARGUMENT, 'model.filters = 8, not 9', tc(base_model='tc', settings={'filters': '9'})),
                (E.INVALID_ARGUMENT, 'features.unit', tc(base_model='tc', settings={'unit': 'word'}))):
            error = self.refused(code, lambda: server.train.TrainTextClassificationModel(request))
            self.assertIn(what, error.details())
        damaged = self.folder / 'models/tc/2'
        damaged.mkdir()
        (damaged / 'model.bib').write_bytes(b'no model')
        self.refused(E.DATA_LOSS, lambda: server.train.TrainTextClassificationModel(tc(base_model='tc')))
        self.assertEqual(len(server.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs), 0)
        self.assertEqual(self.train(server, tc(base_model='tc', base_version='1', settings={'filters': '8', 'lr': '0.001'})).status,
                         'Done')


if __name__ == '__main__':
    unittest.main()
