"""TLS and mutual TLS, for gRPC and HTTP, and certificates that are replaced while the server runs."""
import socket
import ssl
import subprocess
import time

import grpc
import predict_pb2
from server import *

E = grpc.StatusCode


def question():
    return predict_pb2.PredictNamedEntityRecognitionRequest(model_name='ner', text=['서울'])


class TlsTest(ServerTest):
    def setUp(self):
        super().setUp()
        publish(self.folder, 'ner', 'ner')

    def test_files_that_cannot_be_used_are_an_error_at_the_start(self):
        (self.folder / 'no.pem').write_text('no certificate')
        for path in (self.path('none.pem'), self.path('no.pem')):
            done = run_bib('serve', '--models', self.path('models'), '--port', '0', '--tls-cert', path, '--tls-key', path)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(f'{path}: cannot be used for TLS', done.stderr)

    def openssl(self, *arguments):
        subprocess.run(['openssl', *arguments], cwd=self.folder, check=True, capture_output=True, timeout=PATIENCE)

    def authority(self, ca):
        """A certificate authority, and a server's and a client's certificate of it: <ca>-server.pem, <ca>-client.pem."""
        key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
        self.openssl('req', '-x509', *key, '-days', '2', '-subj', f'/CN={ca}', '-keyout', f'{ca}.key', '-out', f'{ca}.pem')
        for name in (f'{ca}-server', f'{ca}-client'):
            self.openssl('req', *key, '-subj', f'/CN={name}', '-keyout', f'{name}.key', '-out', f'{name}.csr')
            (self.folder / 'names.ext').write_text('subjectAltName=DNS:localhost,IP:127.0.0.1\n')
            self.openssl('x509', '-req', '-in', f'{name}.csr', '-CA', f'{ca}.pem', '-CAkey', f'{ca}.key',
                         '-CAcreateserial', '-days', '2', '-extfile', 'names.ext', '-out', f'{name}.pem')

    def read(self, name):
        return (self.folder / name).read_bytes()

    def path(self, name):
        return str(self.folder / name)

    def install(self, ca):
        """Puts the authority's certificates where the server looks, each by a rename."""
        for source, target in ((f'{ca}-server.key', 'tls.key'), (f'{ca}-server.pem', 'tls.pem'), (f'{ca}.pem', 'clients.pem')):
            (self.folder / 'part').write_bytes(self.read(source))
            (self.folder / 'part').rename(self.folder / target)

    def ask(self, server, ca, client=None):
        """By gRPC: the number of results, or the status code."""
        mine = (self.read(f'{client}-client.key'), self.read(f'{client}-client.pem')) if client else (None, None)
        with grpc.secure_channel(f'localhost:{server.port}', grpc.ssl_channel_credentials(self.read(f'{ca}.pem'), *mine)) as c:
            try:
                reply = predict_pb2_grpc.PredictProviderStub(c).PredictNamedEntityRecognition(question(), timeout=PATIENCE)
                return len(reply.results)
            except grpc.RpcError as e:
                return e.code()

    def get(self, server, ca, client=None):
        """By HTTP: the status, or 0 when no connection came about."""
        context = ssl.create_default_context(cafile=self.path(f'{ca}.pem'))
        if client:
            context.load_cert_chain(self.path(f'{client}-client.pem'), self.path(f'{client}-client.key'))
        try:
            with urllib.request.urlopen(f'https://localhost:{server.http}/healthz', timeout=PATIENCE, context=context) as r:
                return r.status
        except OSError:
            return 0

    def test_requests_that_come_together_by_http(self):
        self.authority('one')
        self.install('one')
        server = self.start(mutual=False)
        context = ssl.create_default_context(cafile=self.path('one.pem'))
        request = b'GET /healthz HTTP/1.1\r\nHost: x\r\n'
        for count in (3, 1000):  # in one record of TLS, in several
            with socket.create_connection(('localhost', server.http), timeout=PATIENCE) as plain:
                with context.wrap_socket(plain, server_hostname='localhost') as client:
                    client.sendall((request + b'\r\n') * count + request + b'Connection: close\r\n\r\n')
                    received = b''
                    while data := client.recv(65536):
                        received += data
            self.assertEqual(received.count(b'HTTP/1.1 200 OK'), count + 1)

    def start(self, mutual):
        return self.serve('--tls-cert', self.path('tls.pem'), '--tls-key', self.path('tls.key'),
                          *(['--tls-client-ca', self.path('clients.pem')] if mutual else []), role='predict')

    def test_who_may_connect(self):
        self.authority('one')
        self.authority('other')
        self.install('one')
        for mutual in (False, True):
            server = self.start(mutual)
            for client, welcome in (('one', True), (None, not mutual), ('other', not mutual)):
                self.assertEqual(self.ask(server, 'one', client), 1 if welcome else E.UNAVAILABLE, (mutual, client))
                self.assertEqual(self.get(server, 'one', client), 200 if welcome else 0, (mutual, client))
                mine = ['--tls-cert', self.path(f'{client}-client.pem'), '--tls-key', self.path(f'{client}-client.key')]
                done = run_bib('client', '--server', f'localhost:{server.port}', '--tls-ca', self.path('one.pem'),
                               *(mine if client else []), '--timeout', '30', 'health')
                self.assertEqual((done.returncode, done.stdout), (0, 'SERVING\n') if welcome else (1, ''), done.stderr)
            self.assertEqual(self.ask(server, 'other', 'one'), E.UNAVAILABLE)  # a client that does not trust the server
            self.refused(E.UNAVAILABLE,
                         lambda: server.predict.PredictNamedEntityRecognition(question(), timeout=PATIENCE))  # no TLS
            self.assertEqual(server.end(), 143)

    def test_a_client_that_asks_for_tls_gets_tls(self):
        self.authority('one')
        self.install('one')
        server = self.start(mutual=False)
        plain = self.serve('--allow-empty', role='predict')
        mine = ['--tls-cert', self.path('one-client.pem'), '--tls-key', self.path('one-client.key')]

        def health(to, *flags, host='localhost', roots='one.pem'):
            environment = {**os.environ, 'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH': self.path(roots)}
            return subprocess.run([BIB, 'client', '--server', f'{host}:{to.port}', '--timeout', '30', *flags, 'health'],
                                  env=environment, capture_output=True, text=True, timeout=PATIENCE).returncode

        self.assertEqual(health(server, '--tls'), 0)  # the system's authorities
        self.assertEqual(health(server, *mine), 0)    # no token goes in plain text because --tls-ca was left out
        self.assertEqual(health(server), 1)
        for flags in (['--tls'], mine, ['--tls-name', 'localhost']):
            self.assertEqual(health(plain, *flags), 1, flags)
        self.assertEqual(health(server, *mine[:2]), 2)
        self.assertEqual(health(server, '--tls', host='127.0.0.2'), 1)  # which its certificate does not name
        self.assertEqual(health(server, '--tls-name', 'localhost', host='127.0.0.1'), 0)

    def test_certificates_that_are_out_of_date_or_of_another_key(self):
        self.authority('one')
        self.install('one')
        server = self.start(mutual=True)
        self.openssl('x509', '-req', '-in', 'one-client.csr', '-CA', 'one.pem', '-CAkey', 'one.key', '-CAcreateserial',
                     '-days', '-1', '-out', 'one-client.pem')
        self.assertEqual((self.ask(server, 'one', 'one'), self.get(server, 'one', 'one')), (E.UNAVAILABLE, 0))
        done = run_bib('serve', '--models', self.path('models'), '--port', '0', '--tls-cert', self.path('tls.pem'),
                       '--tls-key', self.path('one-client.key'))
        self.assertEqual(done.returncode, 1)
        self.assertIn('one-client.key', done.stderr)

    def test_certificates_are_replaced_without_a_restart(self):
        self.authority('old')
        self.authority('new')
        self.install('old')
        server = self.start(mutual=True)
        self.assertEqual((self.ask(server, 'old', 'old'), self.get(server, 'old', 'old')), (1, 200))
        self.assertEqual((self.ask(server, 'new', 'new'), self.get(server, 'new', 'new')), (E.UNAVAILABLE, 0))
        (self.folder / 'tls.pem').write_text('no certificate')  # what cannot be used changes nothing
        self.assertEqual(self.get(server, 'old', 'old'), 200)
        server.wait_for('certificates stay as they are')
        self.install('new')
        self.assertEqual((self.get(server, 'new', 'new'), self.get(server, 'old', 'old')), (200, 0))
        end = time.monotonic() + PATIENCE
        while self.ask(server, 'new', 'new') != 1:  # gRPC looks at its files once a second
            self.assertLess(time.monotonic(), end)
        self.assertEqual(self.ask(server, 'old', 'old'), E.UNAVAILABLE)
        self.assertEqual(server.end(), 143)


if __name__ == '__main__':
    unittest.main()
