"""Training over gRPC: the original client's lines, jobs that survive, the same bytes whatever happened on the way."""
import contextlib
import sqlite3
import threading

import grpc
import job_pb2
import model_pb2
import predict_pb2
import train_pb2
import train_pb2_grpc
from grpc_health.v1 import health_pb2
from server import *

KEYS = ['classification', 'detail', 'model_name', 'pipeline_item_id', 'start', 'estimate', 'progress', 'step', 'status']


class JobsTest(JobTest):
    def test_the_original_lines_run_unchanged(self):
        server = self.serve('--listen', '0.0.0.0', '--insecure', role='train')
        data_set = tc_data(40)
        lines = """
channel = grpc.insecure_channel('0.0.0.0:20001')
stub = train_pb2_grpc.TrainProviderStub(channel)
request = train_pb2.TrainTextClassificationModelRequest(model_name='tc_train', epochs=1, train_rate=0.8, data_set=data_set)
records = stub.TrainTextClassificationModel(request)
"""
        names = {'grpc': grpc, 'train_pb2': train_pb2, 'train_pb2_grpc': train_pb2_grpc, 'data_set': data_set}
        exec(lines.replace('20001', str(server.port)), names)
        records = records_of(names['records'])
        self.assertEqual([f.name for f in train_pb2.TrainProgress.DESCRIPTOR.fields[:9]], KEYS)
        self.assertEqual([r.step for r in records], list(range(1, len(records) + 1)))
        self.assertEqual([r.status for r in records], ['Pending'] * (len(records) - 1) + ['Done'])
        self.assertEqual(records[-1].progress, 1.0)
        for r in records:
            self.assertEqual((r.classification, r.detail, r.model_name), ('tc', 'Train', 'tc_train'))
            self.assertRegex(r.start, r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$')
            self.assertGreater(r.estimate, 0)
        self.assertEqual(records[-1].model_version, '1')
        self.assertGreater(len(self.model_bytes('tc_train')), 0)
        names['channel'].close()

    def test_train_then_predict(self):
        server = self.serve()
        records = records_of(server.train.TrainNamedEntityRecognitionModel(
            ner_request(epochs=2, seed=7, pipeline_item_id='1235')))
        self.assertEqual({r.pipeline_item_id for r in records}, {'1235'})
        self.assertIn('dev_score', records[-1].metrics)
        self.assertEqual([r.sequence for r in records], list(range(1, len(records) + 1)))
        status, body, _ = server.get('/v1/predict', '{"model":"ner","text":"서울에 간다"}')
        self.assertEqual(status, 200, body)
        # The same data by way of a file and `bib train`: the same bytes.
        config = [f for k, v in SMALL['ner'].items() for f in ('--set', f'{k}={v}')]
        data = self.folder / 'data.txt'
        data.write_text('\n'.join(lines('data/ner/train.txt', 80)) + '\n', encoding='utf-8')
        done = run_bib('train', 'ner', '--train', str(data), '--train-rate', '0.8', '--epochs', '2', '--seed', '7',
                       '-o', str(self.folder / 'by_hand'), '-q', *config)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.model_bytes('ner'), (self.folder / 'by_hand').read_bytes())

    def test_one_core_is_left_to_predictions(self):
        cores = len(os.sched_getaffinity(0))
        for role, flags, threads in (('train', (), cores), ('both', (), max(1, cores - 1)),
                                     ('both', ('--train-threads', '3'), 3)):
            with self.subTest(role=role, flags=flags):
                server = self.serve(*flags, role=role)
                self.start(server, ner_request(count=20, epochs=1))
                server.wait_for(f'trains on {threads} CPU threads')
                server.end()

    def test_attach_again_replay_and_the_same_request_id(self):
        server = self.serve(role='train')
        stream, first = self.start(server, tc_request(epochs=4, request_id='order-7'))
        stream.cancel()  # the client goes, the job stays
        replay = records_of(server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=first.job_id)))
        self.assertEqual([r.sequence for r in replay], list(range(1, len(replay) + 1)))
        self.assertEqual(replay[-1].status, 'Done')
        again = records_of(server.train.TrainTextClassificationModel(tc_request(epochs=4, request_id='order-7')))
        self.assertEqual(again, replay)
        self.assertEqual(records_of(server.jobs.WatchJob(job_pb2.WatchJobRequest(
            job_id=first.job_id, after_sequence=len(replay) - 2))), replay[-2:])
        # Whoever asks hears the end: the number may be one that a server gave which was killed before it wrote it down.
        self.assertEqual(list(server.jobs.WatchJob(job_pb2.WatchJobRequest(
            job_id=first.job_id, after_sequence=len(replay)))), replay[-1:])
        self.refused(grpc.StatusCode.ALREADY_EXISTS, lambda: server.train.TrainTextClassificationModel(
            tc_request(epochs=5, request_id='order-7')))
        jobs = server.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs
        self.assertEqual([(j.job_id, j.state, j.model_version) for j in jobs],
                         [(first.job_id, train_pb2.SUCCEEDED, '1')])
        server.jobs.DeleteJob(job_pb2.JobRequest(job_id=first.job_id))
        self.refused(grpc.StatusCode.NOT_FOUND, lambda: server.jobs.GetJob(job_pb2.JobRequest(job_id=first.job_id)))

    def test_a_number_that_is_not_reached_hides_no_record(self):
        server = self.serve(role='train')
        stream, first = self.start(server, tc_request(epochs=100_000))
        watch = server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=first.job_id, after_sequence=4_000_000_000))
        self.assertGreaterEqual(next(r for r in watch if not r.heartbeat).sequence, 1)
        server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=first.job_id))
        with self.assertRaises(grpc.RpcError) as ended:
            for record in watch:
                last = record
        self.assertEqual((ended.exception.code(), last.status), (grpc.StatusCode.ABORTED, 'Cancelled'))
        self.refused(grpc.StatusCode.ABORTED, lambda: stream)

    def test_cancel_and_resume_give_the_same_bytes(self):
        server = self.serve(role='train')
        records_of(server.train.TrainNamedEntityRecognitionModel(ner_request('whole', epochs=20)))
        stream, first = self.start(server, ner_request('parts', epochs=20))
        waiting = server.train.TrainTextClassificationModel(tc_request('later'))
        later = self.job_id(waiting)
        self.assertEqual(server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=later)).state, train_pb2.CANCELLED)
        self.refused(grpc.StatusCode.ABORTED, lambda: waiting)
        job = server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=first.job_id))
        self.assertEqual((job.state, job.has_checkpoint), (train_pb2.CANCELLED, True))
        self.assertFalse((self.folder / 'models' / 'parts').exists())
        self.refused(grpc.StatusCode.ABORTED, lambda: stream)
        records = records_of(server.jobs.ResumeJob(job_pb2.JobRequest(job_id=first.job_id)))
        self.assertEqual(records[-1].status, 'Done')
        self.assertEqual(self.model_bytes('parts'), self.model_bytes('whole'))
        self.refused(grpc.StatusCode.FAILED_PRECONDITION,
                     lambda: server.jobs.ResumeJob(job_pb2.JobRequest(job_id=first.job_id)))

    def test_kill_and_a_new_server_give_the_same_bytes(self):
        server = self.serve(role='train')
        records_of(server.train.TrainNamedEntityRecognitionModel(ner_request('whole', epochs=20)))
        stream, first = self.start(server, ner_request('parts', epochs=20))
        queued = self.job_id(server.train.TrainTextClassificationModel(tc_request('later')))
        checkpoint = self.folder / 'models' / '.state' / 'jobs' / first.job_id / 'model.bib.checkpoint'
        for r in stream:
            if checkpoint.exists():
                break
        self.assertTrue(checkpoint.exists())
        server.end(signal.SIGKILL)
        self.assertFalse((self.folder / 'models' / 'parts').exists())
        server = self.serve(role='train')
        records = records_of(server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=first.job_id)))
        self.assertEqual([r.sequence for r in records], list(range(1, len(records) + 1)))
        self.assertEqual(records[-1].status, 'Done')
        self.assertEqual(records_of(server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=queued)))[-1].status, 'Done')
        self.assertEqual(self.model_bytes('parts'), self.model_bytes('whole'))

    def test_a_job_that_brings_the_server_down_again_and_again_is_given_up(self):
        server = self.serve(role='train')
        stream, first = self.start(server, ner_request(epochs=99_991))  # a prime: progress is no short number
        state = self.folder / 'models' / '.state'
        deaths = state / 'jobs' / first.job_id / 'deaths'

        def last_record():
            with contextlib.closing(sqlite3.connect(state / 'jobs.db')) as db:
                return db.execute('SELECT record FROM records ORDER BY sequence DESC').fetchone()

        def kill_and_start_again():
            server.end(signal.SIGKILL)
            return self.serve(role='train'), train_pb2.TrainProgress.FromString(last_record()[0])

        def until_it_trains(after):
            stream = server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=first.job_id, after_sequence=after.sequence))
            self.assertEqual(next(r for r in stream if not r.heartbeat).state, train_pb2.RUNNING)

        next(r for r in stream if last_record())
        server, last = kill_and_start_again()
        until_it_trains(last)
        count, farthest = deaths.read_text().split()
        self.assertEqual((count, float(farthest)), ('1', last.progress))
        deaths.write_text('3 1.0')  # as if it had been as far three times
        server, last = kill_and_start_again()
        until_it_trains(last)
        self.assertEqual(deaths.read_text().split()[0], '4')
        server, last = kill_and_start_again()
        job = server.jobs.GetJob(job_pb2.JobRequest(job_id=first.job_id))
        self.assertEqual(job.state, train_pb2.FAILED)
        self.assertIn('the server ended 5 times while it trained this job', job.error)
        resumed = server.jobs.ResumeJob(job_pb2.JobRequest(job_id=first.job_id))
        next(r for r in resumed if not r.heartbeat)  # the call does not wait for the server: WatchJob might overtake it
        until_it_trains(last)
        self.assertFalse(deaths.exists())

    def test_sigterm_keeps_the_checkpoint_and_the_next_server_goes_on(self):
        server = self.serve(role='train')
        records_of(server.train.TrainNamedEntityRecognitionModel(ner_request('whole', epochs=20)))
        stream, first = self.start(server, ner_request('parts', epochs=20))
        server.process.send_signal(signal.SIGTERM)
        self.refused(grpc.StatusCode.UNAVAILABLE, lambda: stream)
        self.assertEqual(server.end(None), 143)
        server = self.serve(role='train')
        self.assertEqual(records_of(server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=first.job_id)))[-1].status, 'Done')
        self.assertEqual(self.model_bytes('parts'), self.model_bytes('whole'))

    def test_more_jobs_than_may_wait_are_refused_with_a_hint(self):
        server = self.serve('--max-queued-jobs', '2', '--train-slots', '2', role='train')
        running = [self.start(server, ner_request(f'run{i}', epochs=100_000))[1].job_id for i in range(2)]
        states = [j.state for j in server.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs]
        self.assertEqual(states, [train_pb2.RUNNING] * 2)  # as many at a time as there are slots
        waiting = [self.job_id(server.train.TrainTextClassificationModel(tc_request(f'wait{i}'))) for i in range(2)]
        error = self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED,
                             lambda: server.train.TrainTextClassificationModel(tc_request('more')))
        self.assertGreater(int(dict(error.trailing_metadata())['grpc-retry-pushback-ms']), 0)
        queued = server.jobs.ListJobs(job_pb2.ListJobsRequest(states=[train_pb2.QUEUED])).jobs
        self.assertEqual({j.job_id for j in queued}, set(waiting))
        self.assertIn('bib_jobs_queued 2\n', server.get('/metrics')[1])
        for job in running:
            server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=job))
        for job in waiting:
            self.assertEqual(records_of(server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=job)))[-1].status, 'Done')

    def test_a_client_may_ask_that_its_going_cancels(self):
        server = self.serve(role='train')
        stream, first = self.start(server, ner_request(epochs=100_000, on_disconnect=train_pb2.CANCEL))
        stream.cancel()
        server.wait_for(f'job {first.job_id} .*is cancelled')

    def test_wrong_requests_say_field_and_index(self):
        server = self.serve(role='train')
        E = grpc.StatusCode

        def change(make, **fields):
            request = make(count=3)
            for name, value in fields.items():
                setattr(request, name, value)
            return request

        def refuse(request, says):
            call = (server.train.TrainTextClassificationModel
                    if isinstance(request, train_pb2.TrainTextClassificationModelRequest)
                    else server.train.TrainNamedEntityRecognitionModel)
            error = self.refused(E.INVALID_ARGUMENT, lambda: call(request))
            self.assertIn(says, error.details())

        refuse(change(tc_request, model_name='../up'), 'model_name')
        refuse(change(tc_request, epochs=0), 'epochs')
        refuse(change(tc_request, train_rate=0), 'train_rate')
        refuse(change(tc_request, train_rate=1.5), 'train_rate')
        refuse(change(tc_request, train_rate=float('nan')), 'train_rate')
        refuse(tc_request(count=0), 'data_set')
        unlabelled = tc_request(count=3)
        unlabelled.data_set[2].label = ''
        refuse(unlabelled, 'data_set[2].label')
        outside = ner_request(count=3)
        del outside.data_set[1].entities[:]
        outside.data_set[1].entities.add(start=0, end=10_000, label='LC')
        refuse(outside, 'data_set[1].entities[0]')
        unknown = tc_request(count=3)
        unknown.options.settings['filterz'] = '8'
        refuse(unknown, 'options.settings[filterz]')
        vectors = tc_request(count=3)
        vectors.options.settings['vectors'] = '/etc/passwd'
        refuse(vectors, '--datasets')
        path = tc_request(count=0)
        path.options.dataset_path = '../../etc/passwd'
        refuse(path, 'dataset_path')
        foreign = tc_request(count=0)
        foreign.options.dataset_id = 'none-1'
        refuse(foreign, 'dataset_id')
        self.assertEqual(list(server.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs), [])

    def test_limits_hold_for_inline_and_for_uploaded_data(self):
        few = ['--max-records', '50', '--max-labels', '4', '--max-text-bytes', '300', '--max-upload-bytes', '20000']
        server = self.serve(*few, role='train')
        good = [(f'글 {i}', f'label{i % 4}') for i in range(50)]
        cases = {'data_set: holds 51 examples, at most 50': good + [('하나 더', 'label0')],
                 'data_set[7].text: has 301 bytes': good[:7] + [('x' * 301, 'label0')],
                 'data_set[7].label': good[:7] + [('다섯째', 'label4')]}

        def request(**more):
            return train_pb2.TrainTextClassificationModelRequest(
                model_name='m', epochs=1, train_rate=0.8,
                options=train_pb2.TrainOptions(settings=SMALL['tc'], **more.pop('options', {})), **more)

        def upload(rows):
            content = ''.join(f'{label}\t{text}\n' for text, label in [('text', 'label'), *rows]).encode()
            chunks = iter([train_pb2.DataSetChunk(name='rows', data=content)])
            return {'dataset_id': server.train.UploadDataSet(chunks).dataset_id, 'dataset_format': 'tsv'}
        train = server.train.TrainTextClassificationModel
        for says, rows in cases.items():
            inline = request(data_set=[{'text': t, 'label': l} for t, l in rows])
            for r in (inline, request(options=upload(rows))):
                self.assertIn(says, self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: train(r)).details())
        for r in (request(data_set=[{'text': t, 'label': l} for t, l in good]), request(options=upload(good))):
            self.assertEqual(records_of(train(r))[-1].status, 'Done')
        error = self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: upload([('글' * 7000, 'label0')]))
        self.assertIn('--max-upload-bytes', error.details())
        uploads = [p.name for p in (self.folder / 'models/.state/datasets').iterdir()]
        self.assertEqual([n for n in uploads if n.startswith('.')], [])

    def test_what_a_stream_too_many_asked_for_is_not_begun(self):
        publish(self.folder, 'other', 'tc')
        server = self.serve('--max-streams', '1')
        ended = threading.Event()
        question = predict_pb2.PredictRequest(id=1, text_classification={'model_name': 'other', 'text': ['a']})
        open_one = server.predict.PredictStream(q for q in [question, None] if q or ended.wait(PATIENCE) and False)
        self.assertEqual(next(open_one).id, 1)
        calls = [lambda: server.train.TrainTextClassificationModel(tc_request()),
                 lambda: server.train.UploadDataSet(iter([train_pb2.DataSetChunk(name='a', data=b'a')])),
                 lambda: server.jobs.ResumeJob(job_pb2.JobRequest(job_id='none')),
                 lambda: server.models.ExportModel(model_pb2.ModelRequest(model_name='other')),
                 lambda: server.models.ImportModel(iter([model_pb2.ModelChunk(model_name='a', data=b'a')]))]
        for call in calls:
            self.assertIn('1 streams open', self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, call).details())
        self.assertEqual(len(server.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs), 0)
        self.assertIn('bib_calls_total{method="TrainTextClassificationModel",code="8"} 1', server.get('/metrics')[1])
        ended.set()
        list(open_one)
        self.until(lambda: 'bib_streams_open 0' in server.get('/metrics')[1])
        self.assertEqual(list(server.train.TrainTextClassificationModel(tc_request()))[-1].status, 'Done')

    def test_streams_over_the_limit_are_refused_with_a_hint(self):
        server = self.serve('--max-streams', '1', role='train')
        stream, first = self.start(server, ner_request(epochs=100_000))
        error = self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED,
                             lambda: server.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=first.job_id)))
        self.assertGreater(int(dict(error.trailing_metadata())['grpc-retry-pushback-ms']), 0)
        server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=first.job_id))
        self.refused(grpc.StatusCode.ABORTED, lambda: stream)

    def test_data_by_upload_and_by_path(self):
        data = self.folder / 'data'
        data.mkdir()
        text = '\n'.join(lines('data/tc/train.txt', 60)) + '\n'
        (data / 'reviews.txt').write_text(text, encoding='utf-8')
        (self.folder / 'secret.txt').write_text(text, encoding='utf-8')
        (data / 'link.txt').symlink_to(self.folder / 'secret.txt')
        server = self.serve('--datasets', str(data), role='train')
        content = text.encode()
        info = server.train.UploadDataSet(train_pb2.DataSetChunk(name='reviews', data=content[i:i + 1000])
                                          for i in range(0, len(content), 1000))
        self.assertEqual(info.bytes, len(content))
        by_id, by_path = tc_request('by_id', count=0), tc_request('by_path', count=0)
        by_id.options.dataset_id = info.dataset_id
        by_path.options.dataset_path = 'reviews.txt'
        for request in (by_id, by_path):
            self.assertEqual(records_of(server.train.TrainTextClassificationModel(request))[-1].status, 'Done')
        self.assertEqual(self.model_bytes('by_id'), self.model_bytes('by_path'))
        by_path.options.dataset_path = 'link.txt'
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: server.train.TrainTextClassificationModel(by_path))
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: server.train.UploadDataSet(
            iter([train_pb2.DataSetChunk(name='../x', data=b'a')])))

    def test_a_data_folder_that_is_not_there_opens_no_other(self):
        (self.folder / 'models').mkdir()
        (self.folder / 'secret.txt').write_text('\n'.join(lines('data/tc/train.txt', 20)) + '\n', encoding='utf-8')
        server = self.serve('--datasets', str(self.folder / 'data'), role='train')  # works in self.folder
        for path in ('secret.txt', '../secret.txt', str(self.folder / 'secret.txt')):
            request = tc_request(count=0)
            request.options.dataset_path = path
            error = self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: server.train.TrainTextClassificationModel(request))
            self.assertIn("the server's data folder is not there", error.details())

    def test_json_that_nests_without_end_fails_its_job_alone(self):
        server = self.serve(role='train')
        deep = '{"text":"a","spans":' + '[' * 100_000 + ']' * 100_000 + '}\n'
        info = server.train.UploadDataSet(iter([train_pb2.DataSetChunk(name='deep', data=deep.encode())]))
        request = ner_request(count=0)
        request.options.dataset_id = info.dataset_id
        error = self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: server.train.TrainNamedEntityRecognitionModel(request))
        self.assertIn('nest more than 200 deep', error.details())
        self.assertEqual(server.health('bib.Live'), health_pb2.HealthCheckResponse.SERVING)

    def test_a_job_that_cannot_be_trained_says_why(self):
        server = self.serve(role='train')
        same = tc_request(count=5)
        for example in same.data_set:
            example.label = 'one'
        error = self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: server.train.TrainTextClassificationModel(same))
        job = server.jobs.ListJobs(job_pb2.ListJobsRequest()).jobs[0]
        self.assertEqual((job.state, job.error), (train_pb2.FAILED, error.details()))
        list(server.train.TrainTextClassificationModel(tc_request()))
        page = server.get('/metrics')[1]
        for state, count in (('failed', 1), ('succeeded', 1), ('cancelled', 0), ('interrupted', 0)):
            self.assertIn(f'bib_jobs_finished_total{{state="{state}"}} {count}\n', page)


if __name__ == '__main__':
    unittest.main()
