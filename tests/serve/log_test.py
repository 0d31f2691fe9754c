"""Every line of the log is one of ours, whoever has something to say."""
import socket
import subprocess
import unittest
import unittest.mock

from server import *


class LogTest(ServerTest):
    def certificate(self):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
                        '-days', '2', '-subj', '/CN=localhost', '-keyout', 'tls.key', '-out', 'tls.pem'],
                       cwd=self.folder, check=True, capture_output=True, timeout=PATIENCE)
        return '--tls-cert', str(self.folder / 'tls.pem'), '--tls-key', str(self.folder / 'tls.key')

    def complain(self, *flags, **env):
        """The whole log of a server that is sent no TLS, and of one whose port is taken."""
        server = self.serve('--allow-empty', *self.certificate(), *flags, role='predict', env=env)
        with socket.create_connection(('127.0.0.1', server.port), timeout=PATIENCE) as client:
            client.sendall(b'this is no handshake\r\n\r\n')
            try:
                while client.recv(65536):
                    pass
            except ConnectionError:
                pass
        server.wait_for('gRPC: .*[Hh]andshake failed')
        second = self.serve('--port', str(server.port), *flags, role='predict', wait=False, env=env)
        second.wait_for('cannot listen')
        out = []
        for s, code in ((second, 1), (server, 143)):
            self.assertEqual(s.end(signal.SIGTERM if s is server else None), code)
            while (line := s._news.get(timeout=PATIENCE)) is not None:
                s.log.append(line)
            out += s.log
        return out

    def test_what_grpc_says_is_json_too(self):
        for verbosity in ('error', 'debug'):
            log = [json.loads(line) for line in self.complain('--log-format', 'json', GRPC_VERBOSITY=verbosity)]
            for line in log:
                self.assertEqual(list(line), ['time', 'level', 'message'])
            levels = {line['level'] for line in log if line['message'].startswith('gRPC: ')}
            self.assertEqual(levels, {'warning'} if verbosity == 'error' else {'warning', 'info'})
            self.assertEqual([line['level'] for line in log if 'cannot listen' in line['message']], ['error'])

    def test_and_text_where_the_rest_is(self):
        log = self.complain(GRPC_VERBOSITY='debug')
        for line in log:
            self.assertRegex(line, r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z bib serve: ')
        self.assertTrue([line for line in log if 'bib serve: warning: gRPC: ' in line])

    def test_errors_before_the_first_line_are_json_too(self):
        (self.folder / 'file').write_text('')
        folder = str(self.folder / 'models')
        for flags, code, what in ((['--port', 'x'], 2, "--port: x is no whole number from 0 to 65535; 'bib serve --help'"),
                                  (['--prot', '1'], 2, 'did you mean --port?'),
                                  (['--tls-cert', 'x'], 2, '--tls-cert and --tls-key go together'),
                                  (['--device', 'cuda:99'], 5, ''),
                                  (['--models', str(self.folder / 'file')], 1, 'is no folder'),
                                  (['--models', folder, '--tls-cert', folder, '--tls-key', folder], 1, 'cannot be used for TLS')):
            for format in (['--log-format', 'json'], ['--log-format=json'], []):
                with unittest.mock.patch.dict(os.environ, {} if format else {'BIB_LOG_FORMAT': 'json'}):
                    done = run_bib('serve', '--port', '0', *flags, *format)
                self.assertEqual(done.returncode, code, done.stderr)
                errors = [line for line in parse(done.stderr) if line['level'] == 'error']
                self.assertEqual([list(line) for line in errors], [['time', 'level', 'message']])  # once
                self.assertIn(what, errors[0]['message'])
        done = run_bib('serve', '--port', 'x', '--log-format', 'json', '--log-format', 'text')
        self.assertTrue(done.stderr.startswith('bib serve: error: --port: x is no'), done.stderr)
        self.assertTrue(run_bib('serve', '--log-format', 'json', '--help').stdout.startswith('Serves '))

    def test_what_is_wrong_with_the_folder_is_said_once(self):
        (self.folder / 'file').write_text('')
        for role in ('train', 'predict', 'both'):
            for flags, what in ((['--models', str(self.folder / 'file')], 'is no folder'),
                                (['--models', str(self.folder), '--state', str(self.folder / 'file')], 'Not a directory')):
                if role != 'predict' or '--state' not in flags:
                    done = run_bib('serve', '--port', '0', '--role', role, *flags)
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertRegex(done.stderr, f'error: .*{what}; ')
                    self.assertEqual(done.stderr.count('error: '), 1, done.stderr)

    def test_calls_that_fail_are_each_said_once_a_minute(self):
        server = self.serve('--preload', 'none', role='predict')
        for name in ('a', 'b'):
            publish(self.folder, name, 'ner').write_bytes(b'no model')
        for _ in range(5):
            for name in ('a', 'b'):
                status, answer, _ = server.get('/v1/predict', json.dumps({'model': name, 'text': 'x'}))
                self.assertEqual(status, 500, answer)
        self.assertEqual(server.end(), 143)
        while (line := server._news.get(timeout=PATIENCE)) is not None:
            server.log.append(line)
        self.assertEqual(sum('POST /v1/predict failed: ' in line for line in server.log), 2)

    def test_a_log_that_nobody_takes_goes_into_no_other_file(self):
        program = str(pathlib.Path(BIB).with_name('bib-serve'))
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            port = taken.getsockname()[1]
        process = subprocess.Popen(['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh', program, '--models', str(self.folder), '--port', '0',
                                    '--http', str(port), '--drain-seconds', '0'])
        self.stack.callback(process.wait, PATIENCE)
        self.stack.callback(process.kill)

        def ready():
            self.assertIsNone(process.poll())
            with contextlib.suppress(OSError), urllib.request.urlopen(f'http://127.0.0.1:{port}/readyz', timeout=PATIENCE):
                return True
        self.until(ready)
        self.assertEqual([os.readlink(f'/proc/{process.pid}/fd/{n}') for n in (0, 1, 2)], ['/dev/null'] * 3)
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 143)


if __name__ == '__main__':
    unittest.main()
