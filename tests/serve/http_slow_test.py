"""Clients of the HTTP port that are slow, silent or many keep nobody else from an answer."""
import contextlib
import json
import re
import resource
import socket
import ssl
import subprocess
import threading
import unittest

from server import *

HEAD = b'POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n'
CHUNKED = b'POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
PROBE = b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'
QUESTION = json.dumps({'model': 'classes', 'text': 'a'})


class SlowTest(ServerTest):
    def setUp(self):
        super().setUp()
        publish(self.folder, 'classes', 'tc')

    def connect(self, server):
        return self.stack.enter_context(socket.create_connection(('127.0.0.1', server.http), timeout=PATIENCE))

    def trickle(self, clients, pause=0.1):
        """Sends a byte by each client, those that come later too, again and again until the test ends."""
        ended = threading.Event()

        def send():
            while not ended.wait(pause):
                for client in clients[:]:
                    with contextlib.suppress(OSError):
                        client.sendall(b'x')
        sender = threading.Thread(target=send)
        sender.start()
        self.stack.callback(sender.join, PATIENCE)
        self.stack.callback(ended.set)

    def all_of(self, client):
        """What comes until the server closes."""
        received = b''
        with contextlib.suppress(ConnectionError):
            while data := client.recv(65536):
                received += data
        return received

    def probe(self, client):
        client.sendall(PROBE)
        received = b''
        while not received.endswith(b'ok\n'):
            received += client.recv(65536)

    def gauge(self, server, name):
        return float(re.search(rf'^{name} (\S+)$', server.get('/metrics')[1], re.M)[1])

    def test_heads_that_come_slowly_keep_nobody_from_an_answer(self):
        server = self.serve(role='predict')
        clients = []
        self.trickle(clients, pause=1)
        for _ in range(300):
            clients.append(self.connect(server))
            clients[-1].sendall(b'GET /healthz HTTP/1.1\r\nX: ')
        for path, body in (('/healthz', None), ('/readyz', None), ('/metrics', None), ('/v1/predict', QUESTION)):
            self.assertEqual(server.get(path, body)[0], 200, path)

    def test_a_request_that_comes_slowly_is_given_up(self):
        server = self.serve('--http-seconds', '1', role='predict')
        clients = []
        for head, why in ((b'GET /healthz HTTP/1.1\r\nX: ', b'the head of the request came too slowly'),
                          (HEAD + b'\r\n', b'the body came too slowly'),
                          (HEAD + b'Expect: 100-continue\r\n\r\n', b'the body came too slowly'),
                          (CHUNKED + b'1\r\nx\r\n7', b'the body came too slowly')):
            clients.append(self.connect(server))
            clients[-1].sendall(head)
            self.trickle(clients[-1:])
            answer = self.all_of(clients[-1])
            self.assertIn(b'HTTP/1.1 408 ', answer, head)
            self.assertIn(why, answer)
        clients.append(self.connect(server))  # not even the first line
        self.trickle(clients[-1:])
        self.assertEqual(self.all_of(clients[-1]), b'')
        self.assertIn('bib_calls_total{method="POST /v1/predict",code="3"} 3\n', server.get('/metrics')[1])

    def test_a_body_may_take_longer_where_it_is_long(self):
        server = self.serve('--http-seconds', '4', role='predict')
        body = json.dumps({'model': 'classes', 'text': 'a ' * 100_000}).encode()
        client = self.connect(server)
        client.sendall(b'POST /v1/predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n' % len(body))
        for at in range(0, len(body), 4000):
            client.sendall(body[at:at + 4000])
            time.sleep(0.1)  # 40 KB a second, five seconds in all
        self.assertIn(b'HTTP/1.1 200 ', self.all_of(client))

    def test_who_takes_no_answer_is_given_up(self):
        server = self.serve('--http-seconds', '1', role='predict')
        with self.assertRaises(ConnectionError):
            client = self.connect(server)
            while True:  # the answers fill what lies between, then the questions do
                client.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n' * 100)

    def test_who_takes_an_answer_slowly_is_given_up(self):
        server = self.serve('--http-seconds', '1', '--max-message-bytes', str(1 << 28), '--max-text-bytes', str(1 << 28),
                            role='predict')
        body = json.dumps({'model': 'classes', 'text': ' ' * (24 << 20)}).encode()  # comes back in the answer
        client = socket.socket()
        self.stack.enter_context(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(('127.0.0.1', server.http))
        client.sendall(b'POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
        self.assertIn(b'HTTP/1.1 200 ', client.recv(1000))

        def gone():
            client.recv(10)
            return self.gauge(server, 'bib_http_connections') == 1  # the one that asks
        self.until(gone)

    def test_those_that_wait_longest_give_way(self):
        server = self.serve('--http-connections', '16', role='predict')
        idle = [self.connect(server) for _ in range(10)]
        for client in idle:
            self.probe(client)
        silent = [self.connect(server) for _ in range(30)]
        self.assertEqual(server.get('/healthz')[0], 200)
        for client in idle + silent[:14]:
            self.assertEqual(self.all_of(client), b'')
        self.probe(silent[-1])
        self.assertLessEqual(self.gauge(server, 'bib_http_connections'), 16)

    def test_who_has_asked_gives_way_to_nobody(self):
        server = self.serve('--http-connections', '8', role='predict')
        for _ in range(2):
            clients = []
            for _ in range(200):
                clients.append(self.connect(server))
                clients[-1].sendall(PROBE.replace(b'Host', b'Connection: close\r\nHost'))
            self.assertEqual([self.all_of(client)[-3:] for client in clients], [b'ok\n'] * len(clients))

    def test_descriptors_that_run_out_come_back(self):
        server = self.serve('--poll-seconds', '3600', role='predict')
        idle = [self.connect(server) for _ in range(2)]
        for client in idle:
            self.probe(client)
        limit = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, limit[1]))
        last = self.connect(server)
        self.assertEqual([self.all_of(client) for client in idle], [b'', b''])
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limit)
        self.probe(last)

    def test_silence_of_tls_gives_way_too(self):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
                        '-days', '2', '-subj', '/CN=localhost', '-keyout', 'tls.key', '-out', 'tls.pem'],
                       cwd=self.folder, check=True, capture_output=True, timeout=PATIENCE)
        server = self.serve('--http-connections', '16', '--tls-cert', str(self.folder / 'tls.pem'), '--tls-key',
                            str(self.folder / 'tls.key'), role='predict')
        silent = [self.connect(server) for _ in range(40)]
        context = ssl.create_default_context(cafile=self.folder / 'tls.pem')
        context.check_hostname = False
        with urllib.request.urlopen(f'https://127.0.0.1:{server.http}/readyz', timeout=PATIENCE, context=context) as reply:
            self.assertEqual(reply.status, 200)
        for client in silent[:24]:
            self.assertEqual(self.all_of(client), b'')

    def test_more_predictions_than_there_are_places_for_are_refused(self):
        server = self.serve('--http-connections', '16', '--http-seconds', '60', role='predict')
        body = QUESTION.encode()
        head = b'POST /v1/predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n' % len(body)
        kept = [self.connect(server) for _ in range(14)]
        for client in kept:
            client.sendall(head + body[:1])
        self.until(lambda: self.gauge(server, 'bib_http_connections') == 15)
        others = [self.connect(server) for _ in range(30)]
        self.until(lambda: server.get('/v1/predict', QUESTION)[0] == 503)
        status, answer, headers = server.get('/v1/predict', QUESTION)
        self.assertEqual((status, headers['Retry-After'], headers['Connection']), (503, '1', 'close'))
        self.assertIn('--http-connections', json.loads(answer)['error']['message'])
        for path in ('/healthz', '/readyz', '/metrics'):
            self.assertEqual(server.get(path)[0], 200)
        self.assertRegex(server.get('/metrics')[1], r'bib_calls_total\{method="POST /v1/predict",code="14"\} \d')
        for client in kept:  # they gave way to nobody
            client.sendall(body[1:])
            self.assertIn(b'HTTP/1.1 200 ', self.all_of(client))
        self.assertEqual(server.get('/v1/predict', QUESTION)[0], 200)

    def test_lines_without_end_take_no_memory(self):
        server = self.serve(role='predict')
        before = self.gauge(server, 'bib_resident_bytes')
        line = b'X' * (1 << 20)
        for head, part in ((b'', b'\r\n' * (1 << 19)),
                           (b'GET /', line),
                           (b'GET /healthz HTTP/1.1\r\nX: ', line),
                           (b'GET /healthz HTTP/1.1\r\n', b'X: y\r\n' * (1 << 17)),
                           (CHUNKED, line),
                           (CHUNKED + b'1;', line)):
            with self.assertRaises(ConnectionError, msg=head):
                client = self.connect(server)
                client.sendall(head)
                for _ in range(100):
                    client.sendall(part)
        self.assertLess(self.gauge(server, 'bib_resident_bytes') - before, 40 << 20)
        client = self.connect(server)
        client.sendall(b'GET /healthz HTTP/1.1\r\n' + b'X: y\r\n' * 12_000 + b'\r\n')
        answer = self.all_of(client)
        self.assertIn(b'HTTP/1.1 431 ', answer)
        self.assertIn(b'the head of the request is too long', answer)


if __name__ == '__main__':
    unittest.main()
