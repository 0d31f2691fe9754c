"""What training keeps on its volume: the journal, jobs and their folders, uploads; and when it goes."""
import contextlib
import sqlite3

import grpc
import job_pb2
import train_pb2
from server import *


class JobStoreTest(JobTest):
    def test_what_a_killed_upload_left_is_removed(self):
        self.assertEqual(self.serve(role='train').end(), 143)
        left = self.folder / 'models/.state/datasets/.upload-1'
        left.write_bytes(b'half')
        self.serve(role='train')
        self.assertFalse(left.exists())

    def test_jobs_that_ended_long_ago_go(self):
        server = self.serve('--train-slots', '2', role='train')
        list(server.train.TrainTextClassificationModel(tc_request('old')))
        list(server.train.TrainTextClassificationModel(tc_request('young')))
        for name in ('stopped', 'underway'):
            stream, first = self.start(server, tc_request(name, epochs=100_000))
            if name == 'stopped':
                server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=first.job_id))
        server.end(signal.SIGKILL)
        state = self.folder / 'models/.state'
        with contextlib.closing(sqlite3.connect(state / 'jobs.db')) as db:
            db.execute("UPDATE jobs SET created = 1, started = 1, finished = finished - 91 * 86400 WHERE model_name <> 'young'")
            db.commit()

        def left(*flags):
            server = self.serve(*flags, role='train')
            names = sorted(j.model_name for j in server.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs)
            return server, names

        server, names = left('--keep-jobs-days', '0')
        self.assertEqual(names, ['old', 'stopped', 'underway', 'young'])
        server.end(signal.SIGKILL)
        server, names = left()
        self.assertEqual(names, ['underway', 'young'])
        server.wait_for('is removed: it ended more than --keep-jobs-days ago')
        self.assertEqual(len(list((state / 'jobs').iterdir())), 1)
        self.assertTrue((self.folder / 'models/old/1/model.bib').exists())
        server.end()
        with contextlib.closing(sqlite3.connect(state / 'jobs.db')) as db:
            self.assertEqual(db.execute('SELECT count(DISTINCT job) FROM records').fetchone(), (2,))

    def test_a_journal_that_someone_held_is_written_to_again(self):
        server = self.serve(role='train')
        old = records_of(server.train.TrainTextClassificationModel(tc_request('old')))[-1].job_id
        with contextlib.closing(sqlite3.connect(self.folder / 'models/.state/jobs.db', isolation_level=None)) as db:
            db.execute('BEGIN IMMEDIATE')  # for longer than the server waits
            self.refused(grpc.StatusCode.INTERNAL, lambda: server.jobs.DeleteJob(job_pb2.JobRequest(job_id=old)))
        records = records_of(server.train.TrainTextClassificationModel(tc_request('new')))
        server.end(signal.SIGKILL)
        server = self.serve(role='train')
        self.assertEqual(sorted(j.model_name for j in server.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs), ['new', 'old'])
        self.assertEqual(records_of(server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=records[0].job_id))), records)

    def test_a_job_whose_folder_is_gone_is_done_where_its_model_is_there(self):
        server = self.serve(role='train')
        jobs = {name: records_of(server.train.TrainTextClassificationModel(tc_request(name)))[-1].job_id
                for name in ('there', 'lost')}
        server.end()
        shutil.rmtree(self.folder / 'models/lost')
        with contextlib.closing(sqlite3.connect(self.folder / 'models/.state/jobs.db')) as db:  # killed before the last word
            db.execute(f"UPDATE jobs SET state = {train_pb2.SAVING}, finished = 0")
            db.commit()
        server = self.serve(role='train')
        watch = lambda name: records_of(server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=jobs[name])))
        last = watch('there')[-1]
        self.assertEqual((last.status, last.model_version), ('Done', '1'))
        self.assertIn('is gone', self.refused(grpc.StatusCode.DATA_LOSS, lambda: watch('lost')).details())

    def test_uploads_that_nobody_uses_go(self):
        def upload(server, name):
            return server.train.UploadDataSet(iter([train_pb2.DataSetChunk(name=name, data='\n'.join(
                lines('data/tc/train.txt', 60)).encode())])).dataset_id

        def age(name, days):
            os.utime(folder / name, (time.time() - days * 86_400,) * 2)

        def ask(server, name):
            request = tc_request(name, count=0)
            request.options.dataset_id = name
            return records_of(server.train.TrainTextClassificationModel(request))[-1].status
        folder = self.folder / 'models/.state/datasets'
        server = self.serve(role='train')
        old, used, young = (upload(server, name) for name in ('old', 'used', 'young'))
        age(old, 31)
        age(used, 31)
        age(young, 29)
        self.assertEqual(ask(server, used), 'Done')  # counts as a use
        request = tc_request('long', count=0, epochs=100_000, request_id='long')
        request.options.dataset_id = old
        job = self.start(server, request)[1].job_id
        server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=job))
        age(old, 31)
        other = upload(server, 'other')
        self.assertEqual({p.name for p in folder.iterdir()}, {used, young, other})
        self.assertIn('keep-uploads-days', self.refused(grpc.StatusCode.INVALID_ARGUMENT,
                                                        lambda: ask(server, old)).details())
        # The job that began with it can go on all the same, and asking for it again finds it.
        again = server.jobs.ResumeJob(job_pb2.JobRequest(job_id=job))
        next(r for r in again if r.state == train_pb2.RUNNING)
        self.assertEqual(next(server.train.TrainTextClassificationModel(request)).job_id, job)
        server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=job))
        server.end()
        age(young, 31)
        self.serve('--keep-uploads-days', '0', role='train').end()
        self.assertTrue((folder / young).exists())
        self.serve(role='train')
        self.assertFalse((folder / young).exists())

    def test_two_servers_on_one_volume(self):
        self.serve(role='train')
        second = Server(self.folder, role='train', wait=False)
        second.wait_for('another training server .* works on')
        self.assertEqual(second.end(None), 1)

    def test_a_damaged_journal_is_named_and_left_alone(self):
        server = self.serve(role='train')
        records_of(server.train.TrainTextClassificationModel(tc_request(epochs=1)))
        self.assertEqual(server.end(), 143)
        journal = self.folder / 'models' / '.state' / 'jobs.db'
        whole = journal.read_bytes()
        journal.write_bytes(b'not a database at all ' * 100)
        damaged = journal.read_bytes()
        server = Server(self.folder, role='train', wait=False)
        server.wait_for('jobs.db.*damaged.*move it away')
        self.assertEqual(server.end(None), 1)
        self.assertEqual(journal.read_bytes(), damaged)
        # Moved away as it says, or put back from a copy: either way the server starts, and the model is there.
        journal.rename(journal.with_name('damaged'))
        server = self.serve()
        self.assertEqual(list(server.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs), [])
        self.assertEqual(server.get('/v1/predict', '{"model":"tc","text":"좋다"}')[0], 200)
        self.assertEqual(server.end(), 143)
        for path in journal.parent.glob('jobs.db*'):
            path.unlink()
        journal.write_bytes(whole)
        server = self.serve(role='train')
        self.assertEqual([j.model_name for j in server.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs], ['tc'])

    def test_a_page_of_the_journal_that_is_damaged_is_found_at_the_start(self):
        server = self.serve(role='train')
        records_of(server.train.TrainTextClassificationModel(tc_request(epochs=30)))
        self.assertEqual(server.end(), 143)
        journal = self.folder / 'models' / '.state' / 'jobs.db'
        content = bytearray(journal.read_bytes())
        self.assertGreater(len(content), 5 * 4096)
        content[-4096:] = b'\xa5' * 4096
        journal.write_bytes(content)
        server = Server(self.folder, role='train', wait=False)
        server.wait_for('jobs.db.*damaged.*move it away')
        self.assertEqual(server.end(None), 1)


if __name__ == '__main__':
    unittest.main()
