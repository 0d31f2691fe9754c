"""Volumes that are full or read-only: a clear status, and nothing lost."""
import errno

import grpc
import job_pb2
import model_pb2
import predict_pb2
import train_pb2
from server import *

E = grpc.StatusCode


def upload():
    yield train_pb2.DataSetChunk(name='data', data=b'x' * 200_000)


def chunks(content):
    yield model_pb2.ModelChunk(model_name='copy')
    for i in range(0, len(content), 100_000):
        yield model_pb2.ModelChunk(data=content[i:i + 100_000])


class VolumeTest(ServerTest):
    def ask(self, server, name='tc'):
        return server.predict.PredictTextClassification(predict_pb2.PredictTextClassificationRequest(
            model_name=name, text=['좋다'])).results[0]

    def test_a_full_disk_refuses_and_goes_on_when_there_is_space(self):
        server = self.serve(prefix=self.mounted('mount -t tmpfs -o size=8m none models'))
        inside = pathlib.Path(f'/proc/{server.process.pid}/root{self.folder}/models')  # as the server sees it
        list(server.train.TrainTextClassificationModel(tc_request(request_id='first')))
        model = (inside / 'tc' / '1' / 'model.bib').read_bytes()
        running = server.train.TrainNamedEntityRecognitionModel(ner_request(epochs=100_000))
        job_id = next(running).job_id
        next(r for r in running if server.jobs.GetJob(job_pb2.JobRequest(job_id=job_id)).has_checkpoint)
        filler = open(inside / 'filler', 'wb', buffering=0)
        self.addCleanup(filler.close)

        def fill():
            size = 1 << 20
            while size:  # to the last byte
                try:
                    filler.write(bytes(size))
                except OSError as e:
                    self.assertEqual(e.errno, errno.ENOSPC)
                    size //= 2
        fill()
        self.refused(E.RESOURCE_EXHAUSTED, lambda: running)  # its next checkpoint has no place

        # What needs space is refused; what does not goes on. (What was refused may have freed a part that it had begun.)
        for call in (lambda: server.train.TrainTextClassificationModel(tc_request('other')),
                     lambda: server.train.UploadDataSet(upload()),
                     lambda: server.models.ImportModel(chunks(model))):
            fill()
            error = self.refused(E.RESOURCE_EXHAUSTED, call)
            self.assertIn('No space left', error.details())
        answer = self.ask(server)
        self.assertEqual(server.health(), health_pb2.HealthCheckResponse.SERVING)

        # Nor is what fits in part.
        fill()
        filler.truncate(filler.tell() - len(model) // 2)
        for call in (lambda: server.train.UploadDataSet(upload()), lambda: server.models.ImportModel(chunks(model))):
            self.assertIn('No space left', self.refused(E.RESOURCE_EXHAUSTED, call).details())

        # With space again the refused call works, the job goes on from where it was, and what was there is there.
        filler.truncate(0)
        job = server.jobs.GetJob(job_pb2.JobRequest(job_id=job_id))
        self.assertEqual((job.state, job.has_checkpoint), (train_pb2.FAILED, True))
        resumed = server.jobs.ResumeJob(job_pb2.JobRequest(job_id=job_id))
        self.assertGreater(next(r for r in resumed if r.state == train_pb2.RUNNING).step, 1)
        server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=job_id))
        list(server.train.TrainTextClassificationModel(tc_request('other')))
        self.assertEqual(server.models.ImportModel(chunks(model)).versions[0].version, '1')
        self.assertEqual((inside / 'tc' / '1' / 'model.bib').read_bytes(), model)
        self.assertEqual(self.ask(server), answer)
        names = sorted(p.name for p in inside.iterdir())
        self.assertEqual(names, ['.state', 'copy', 'filler', 'other', 'tc'])  # nothing half done

    def test_a_read_only_volume_serves_and_says_what_it_cannot_do(self):
        publish(self.folder, 'tc', 'tc')
        model = model_file('tc').read_bytes()
        prefix = self.mounted('mount --bind models models && mount -o remount,bind,ro models')
        server = self.serve(role='predict', prefix=prefix)
        self.assertNotEqual(self.ask(server).labels, [])
        for call in (lambda: server.models.ImportModel(chunks(model)),
                     lambda: server.models.DeleteModel(model_pb2.DeleteModelRequest(model_name='tc')),
                     lambda: server.models.SetAlias(model_pb2.SetAliasRequest(model_name='tc', alias='stable', version='1'))):
            self.assertIn('Read-only', self.refused(E.FAILED_PRECONDITION, call).details())
        self.assertNotEqual(self.ask(server).labels, [])
        trainer = Server(self.folder, role='train', wait=False, prefix=prefix)
        trainer.wait_for('models.*Read-only.*needs to write there')
        self.assertEqual(trainer.end(None), 1)


if __name__ == '__main__':
    unittest.main()
