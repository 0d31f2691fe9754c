"""The clients: `bib client` and examples/client.py."""
import json
import subprocess
import sys

import job_pb2
from server import *


class ClientTest(ServerTest):
    def client(self, server, *arguments, text=None, code=0):
        done = run_bib('client', '--server', f'127.0.0.1:{server.port}', *arguments, text=text)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def small(self, task):
        return [f for k, v in SMALL[task].items() for f in ('--set', f'{k}={v}')]

    def test_flags_of_the_connection_may_come_after_the_verb(self):
        server = self.serve('--allow-empty')
        for verb in (['models', 'list'], ['jobs', 'list']):
            done = run_bib('client', *verb, '--server', f'127.0.0.1:{server.port}')
            self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_wrong_use_is_explained_as_that_of_bib(self):
        for arguments, says in (
                (['client'], 'bib client: error: a subcommand is missing: train, predict'),
                (['client', 'trian'], "bib client: error: 'trian' is no subcommand; did you mean train?"),
                (['client', 'predict', 'ner', 'm', '--ofsets', 'byte'],
                 'bib client predict: error: --ofsets is no flag of bib client predict; did you mean --offsets?'),
                (['client', 'models', 'list', '--sever', 'x'], '--sever is no flag of bib client models list; did you mean --server?'),
                (['client', 'models', 'list', '--server', ''], 'bib client models list: error: --server: is empty; give it a value'),
                (['serve', '--prot', '3'], 'bib serve: error: --prot is no flag of bib serve; did you mean --port?'),
                (['serve', '--port', '123456'], 'bib serve: error: --port: 123456 is no whole number from 0 to 65535'),
                (['client', '--timeout', 'nan', 'health'], '--timeout: nan is no number from 0 to 1e+09'),
                (['client', 'load', 'ner', 'm', 'texts', '--rate', 'nan'], '--rate: nan is no number')):
            done = run_bib(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(says, done.stderr)
        done = subprocess.run([BIB, 'serve'], capture_output=True, text=True, env={**os.environ, 'BIB_PORT': 'many'}, timeout=PATIENCE)
        self.assertEqual(done.returncode, 2)
        self.assertIn('(the environment variable BIB_PORT)', done.stderr)

    def test_train_predict_jobs_and_models(self):
        server = self.serve()
        data = self.folder / 'data.txt'
        data.write_text('\n'.join(lines('data/ner/train.txt', 80)) + '\n', encoding='utf-8')
        train = ['train', 'ner', 'people', str(data), '--epochs', '2', *self.small('ner'), '--request-id', 'r1',
                 '--item-id', 'p7']
        records = parse(self.client(server, *train))
        self.assertEqual((records[-1]['status'], records[-1]['model_version']), ('Done', '1'))
        self.assertEqual({r['pipeline_item_id'] for r in records}, {'p7'})
        self.assertLessEqual({'classification', 'detail', 'model_name', 'pipeline_item_id', 'start', 'estimate',
                              'progress', 'step', 'status'}, set(records[-1]))
        self.assertEqual(parse(self.client(server, *train)), records)  # the same request is the same job

        # Its answers are the bytes of `bib predict`.
        texts = '\n'.join(lines('data/ner/predict.txt', 40)) + '\n'
        model = self.folder / 'models' / 'people' / '1' / 'model.bib'
        for flags in ([], ['--scores', 'none'], ['--offsets', 'utf16'], ['--nbest', '2']):
            expected = run_bib('predict', str(model), '--from', 'text', '--format', 'jsonl', *flags, text=texts)
            self.assertEqual(self.client(server, 'predict', 'ner', 'people', *flags, text=texts), expected.stdout)

        job = self.client(server, 'jobs', 'list').split('\t')
        self.assertEqual(job[1:4], ['SUCCEEDED', 'ner', 'people'])
        self.assertEqual(self.client(server, 'jobs', 'get', job[0]).split('\t'), job)
        self.assertEqual(parse(self.client(server, 'jobs', 'watch', job[0], '--after', str(len(records) - 1))), records[-1:])
        self.assertIn('FAILED_PRECONDITION', self.client(server, 'jobs', 'resume', job[0], code=1))
        self.client(server, 'jobs', 'delete', job[0])
        self.assertEqual(self.client(server, 'jobs', 'list'), '')
        self.assertIn('NOT_FOUND', self.client(server, 'jobs', 'cancel', job[0], code=1))

        copy = self.folder / 'copy.bib'
        self.client(server, 'models', 'export', 'people', str(copy))
        self.assertEqual(copy.read_bytes(), model.read_bytes())
        self.client(server, 'models', 'import', 'people', str(copy))
        self.client(server, 'models', 'alias', 'people', 'stable', '1')
        listed = [l.split('\t') for l in self.client(server, 'models', 'list').splitlines()]
        self.assertEqual([(l[0], l[1], l[-1] == 'stable') for l in listed], [('people', '1', True), ('people', '2', False)])
        self.client(server, 'models', 'unload', 'people')
        self.assertNotIn('\tloaded', self.client(server, 'models', 'list'))
        self.client(server, 'models', 'load', 'people')
        self.assertIn('\tloaded', self.client(server, 'models', 'list'))
        self.client(server, 'models', 'delete', 'people', '2')
        self.assertEqual(len(self.client(server, 'models', 'list').splitlines()), 1)

    def test_answers_are_those_of_bib_predict_for_any_bytes_and_flags(self):
        for task in ('ner', 'tc'):
            publish(self.folder, task, task)
        server = self.serve(role='predict')
        texts = self.folder / 'texts.txt'
        texts.write_bytes('서울에 간다\r\n\n'.encode() + b'\xe2\x82 \xff ' + '김민수가 왔다\n'.encode())
        for task, flags in (('ner', []), ('ner', ['--offsets', 'byte']), ('ner', ['--offsets', 'utf16']), ('tc', []),
                            ('tc', ['--scores', 'none']), ('tc', ['--scores', 'all'])):
            expected = run_bib('predict', str(model_file(task)), str(texts), '--from', 'text', '--format', 'jsonl', *flags)
            self.assertEqual(self.client(server, 'predict', task, task, str(texts), *flags), expected.stdout, flags)
        answer = {'model': 'tc', 'text': '좋다', 'scores': 'none'}
        self.assertEqual(set(json.loads(server.get('/v1/predict', json.dumps(answer))[1])['classes'][0]), {'label'})

    def test_what_cannot_be_read_or_written_is_an_error(self):
        publish(self.folder, 'ner', 'ner')
        server = self.serve()
        for command in (['predict', 'ner', 'ner'], ['train', 'ner', 'x'], ['models', 'import', 'x'], ['load', 'ner', 'ner']):
            self.assertIn('is a directory', self.client(server, *command, str(self.folder), code=1))
            self.assertIn('No such file', self.client(server, *command, str(self.folder / 'none'), code=1))
        with open('/dev/full', 'w') as full:
            done = subprocess.run([BIB, 'client', '--server', f'127.0.0.1:{server.port}', 'models', 'list'], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn('standard output: cannot be written', done.stderr)

    def test_a_file_that_ends_in_an_error_is_not_sent_as_if_whole(self):
        server = self.serve()
        for command in (['train', 'tc', 'x'], ['models', 'import', 'x']):  # the first byte is none that is mapped
            self.assertIn('cannot be read to its end', self.client(server, *command, '/proc/self/mem', code=1))
        self.assertEqual(list((self.folder / 'models').glob('.import-*')), [])

    def test_a_busy_server_is_asked_again(self):
        publish(self.folder, 'ner', 'ner')
        server = self.serve('--queue-ms', '0', '--workers', '1', role='predict')
        texts = self.folder / 'texts.txt'
        texts.write_text('\n'.join(lines('data/ner/predict.txt', 60) * 40) + '\n', encoding='utf-8')
        expected = run_bib('predict', str(model_file('ner')), str(texts), '--from', 'text', '--format', 'jsonl').stdout
        command = [BIB, 'client', '--server', f'127.0.0.1:{server.port}', 'predict', 'ner', 'ner', str(texts)]
        clients = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
        for client in clients:
            self.assertEqual(client.communicate(timeout=PATIENCE)[0], expected)
            self.assertEqual(client.returncode, 0)
        self.assertNotIn('bib_predict_rejected_total 0\n', server.get('/metrics')[1])

    def test_a_job_is_followed_to_the_next_server(self):
        server = self.serve('--drain-seconds', '0', role='train')
        client = subprocess.Popen([BIB, 'client', '--server', f'127.0.0.1:{server.port}', 'train', 'tc', 'x',
                                   str(SOURCE / 'data/tc/train.txt'), '--epochs', '100000', *self.small('tc')],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(client.kill)
        first = json.loads(client.stdout.readline())
        for how in (signal.SIGTERM, signal.SIGKILL):
            server.end(how)
            server = self.serve('--port', str(server.port), role='train')
            before = server.jobs.GetJob(job_pb2.JobRequest(job_id=first['job_id'])).last.sequence
            for line in client.stdout:
                if json.loads(line)['sequence'] > before:
                    break
        server.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=first['job_id']))
        self.assertEqual(parse(client.stdout.read())[-1]['status'], 'Cancelled')
        err = client.stderr.read()
        client.stdout.close(), client.stderr.close()
        self.assertEqual(client.wait(timeout=PATIENCE), 1)
        self.assertRegex(err, f'went down; job {first["job_id"]}')
        self.assertIn('ABORTED', err)

    def test_what_changes_most_is_asked_for_by_name(self):
        for version in (1, 2):
            publish(self.folder, 'ner', 'ner', version)
        server = self.serve()
        self.client(server, 'models', 'alias', 'ner', 'stable', '1')
        for command, flag in ((['alias', 'ner', 'stable'], '--remove'), (['delete', 'ner'], '--all'),
                              (['alias', 'ner', 'stable', '1', '--remove'], '--remove'), (['delete', 'ner', '1', '--all'], '--all')):
            self.assertIn(flag, self.client(server, 'models', *command, code=2))
        self.assertIn('1\tloaded\t', self.client(server, 'models', 'list'))
        self.client(server, 'models', 'alias', 'ner', 'stable', '--remove')
        self.assertIn('2\tloaded\t', self.client(server, 'models', 'list'))
        self.client(server, 'models', 'delete', 'ner', '--all')
        self.assertEqual(self.client(server, 'models', 'list'), '')

    def test_a_long_korean_name_is_cut_between_characters(self):
        server = self.serve(role='train')
        name = '가나다라마바사아자차카타파하' * 2
        out = self.client(server, 'train', 'tc', name, str(SOURCE / 'data/tc/train.txt'), '--epochs', '1', '--set', 'filters=4')
        self.assertEqual(parse(out)[-1]['model_name'], name)

    def test_an_export_that_fails_leaves_the_file_that_was_there(self):
        publish(self.folder, 'ner', 'ner')
        server = self.serve()
        kept = self.folder / 'kept.bib'
        kept.write_text('kept')
        self.assertIn('NOT_FOUND', self.client(server, 'models', 'export', 'ner', str(kept), '7', code=1))
        self.assertEqual(kept.read_text(), 'kept')
        self.assertIn('No such file', self.client(server, 'models', 'export', 'ner', str(self.folder / 'no/x'), code=1))
        self.assertIn('No space left', self.client(server, 'models', 'export', 'ner', '/dev/full', code=1))
        self.client(server, 'models', 'export', 'ner', str(kept))
        self.assertEqual(kept.read_bytes(), model_file('ner').read_bytes())
        link = self.folder / 'link.bib'
        kept.write_text('kept')
        link.symlink_to(kept)
        self.client(server, 'models', 'export', 'ner', str(link))
        self.assertEqual((link.is_symlink(), kept.read_bytes()), (True, model_file('ner').read_bytes()))
        self.assertEqual(list(self.folder.glob('*.part')), [])

    def test_health_says_it_by_its_exit_code(self):
        server = self.serve(role='predict')
        self.assertEqual(self.client(server, 'health', 'bib.Live'), 'SERVING\n')
        run = run_bib('client', '--server', f'127.0.0.1:{server.port}', 'health')
        self.assertEqual((run.returncode, run.stdout), (1, 'NOT_SERVING\n'))

    def test_load_reports_and_follows_the_ready_servers(self):
        publish(self.folder, 'ner', 'ner')
        first, second = self.serve(role='predict'), self.serve('--drain-seconds', '60', role='predict')
        texts = self.folder / 'texts.txt'
        texts.write_text('\n'.join(lines('data/ner/predict.txt', 40)) + '\n', encoding='utf-8')
        load = ['load', 'ner', 'ner', str(texts), '--seconds', '0.5', '--warmup', '0', '--json']
        for how in (['--concurrency', '4', '--batch', '2'], ['--rate', '100']):
            report = json.loads(self.client(first, *load, *how))
            self.assertGreater(report['answered'], 0)
            self.assertEqual(report['errors'], {})
            for stage in ('latency_ms', 'queue_ms', 'compute_ms'):
                self.assertLessEqual(report[stage]['p50'], report[stage]['p99'])
        self.assertIn('p99', self.client(first, *load[:-1]))

        # Of two servers the one that is not ready any more gets no calls, though it would still answer.
        def answered(server):
            return int(re.search(r'bib_predict_texts_total (\d+)', server.get('/metrics')[1])[1])
        both = f'ipv4:127.0.0.1:{first.port},127.0.0.1:{second.port}'
        before = answered(first), answered(second)
        report = json.loads(run_bib('client', '--server', both, *load).stdout)
        self.assertEqual(report['errors'], {})
        self.assertTrue(answered(first) > before[0] and answered(second) > before[1])
        second.process.send_signal(signal.SIGTERM)
        second.wait_for('not ready any more')
        before = answered(first), answered(second)
        report = json.loads(run_bib('client', '--server', both, *load).stdout)
        self.assertEqual(report['errors'], {})
        self.assertTrue(answered(first) > before[0] and answered(second) == before[1])

    def test_a_server_is_replaced_under_load_without_a_failed_request(self):
        publish(self.folder, 'ner', 'ner')
        pair = [self.serve('--drain-seconds', '2', role='predict') for _ in range(2)]
        texts = self.folder / 'texts.txt'
        texts.write_text('\n'.join(lines('data/ner/predict.txt', 40)) + '\n', encoding='utf-8')
        both = 'ipv4:' + ','.join(f'127.0.0.1:{s.port}' for s in pair)
        running = subprocess.Popen([BIB, 'client', '--server', both, 'load', 'ner', 'ner', str(texts), '--json', '--rate', '50',
                                    '--seconds', '8', '--warmup', '0'], stdout=subprocess.PIPE, text=True)

        def answered(server):
            return int(re.search(r'bib_predict_texts_total (\d+)', server.get('/metrics')[1])[1])
        self.until(lambda: all(answered(s) > 5 for s in pair))
        port = pair[0].port
        self.assertEqual(pair[0].end(), 143)
        pair[0] = self.serve('--port', str(port), role='predict')
        out, _ = running.communicate(timeout=PATIENCE)
        report = json.loads(out)
        self.assertEqual(report['errors'], {})
        self.assertGreater(report['answered'], 0)
        self.assertGreater(answered(pair[0]), 0)  # the client has found the new one

    def test_no_server_is_an_error_that_names_it(self):
        done = run_bib('client', '--server', 'unix:/nowhere/bib.sock', 'models', 'list')
        self.assertEqual(done.returncode, 1)
        self.assertIn('UNAVAILABLE', done.stderr)

    def test_the_example_runs(self):
        server = self.serve()
        done = subprocess.run([sys.executable, str(SOURCE / 'examples/client.py'), f'127.0.0.1:{server.port}',
                               str(SOURCE / 'data/tc/train.txt'), str(SOURCE / 'data/ner/train.txt')],
                              capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for part in ('100.0 %', 'watched again', 'tc_train', 'ner_train', 'stream'):
            self.assertIn(part, done.stdout)


if __name__ == '__main__':
    unittest.main()
