"""Every line of the log is one of ours, whoever has something to say."""
import socket
import subprocess
import unittest

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


if __name__ == '__main__':
    unittest.main()
