"""HTTP as proxies, scanners and hostile clients speak it, written by hand."""
import gzip
import json
import socket
import unittest

from server import *

BODY = b'{"model":"classes","text":"a"}'


class HttpTest(ServerTest):
    def setUp(self):
        super().setUp()
        publish(self.folder, 'classes', 'tc')

    def send(self, server, *parts):
        """Everything that comes back until the server closes; what it no longer takes is not sent."""
        with socket.create_connection(('127.0.0.1', server.http), timeout=PATIENCE) as client:
            answer = b''
            try:
                for part in parts:
                    client.sendall(part)
                while data := client.recv(65536):
                    answer += data
            except ConnectionError:  # closed with some of the request unread
                pass
            return answer

    def post(self, body, *headers, path='/v1/predict', method='POST'):
        lines = [f'{method} {path} HTTP/1.1', 'Host: x', *headers]
        return '\r\n'.join(lines).encode() + b'\r\n\r\n' + body

    def chunked(self, body):
        return b'%x\r\n%s\r\n0\r\n\r\n' % (len(body), body)

    def status(self, answer):
        return int(answer.split(b' ', 2)[1]) if answer else 0

    def test_no_coding_gets_a_body_past_the_limit(self):
        server = self.serve('--max-message-bytes', '65536', role='predict')
        large = json.dumps({'model': 'classes', 'text': 'a ' * 40_000}).encode()
        packed = gzip.compress(large)
        self.assertLess(len(packed), 1000)
        for request in (self.post(self.chunked(large), 'Transfer-Encoding: chunked', 'Connection: close'),
                        self.post(packed, 'Content-Encoding: gzip', f'Content-Length: {len(packed)}', 'Connection: close'),
                        self.post(large, f'Content-Length: {len(large)}', 'Connection: close')):
            answer = self.send(server, request)
            self.assertEqual(self.status(answer), 413, answer[:300])
            self.assertIn(b'--max-message-bytes', answer)
        self.assertIn('bib_calls_total{method="POST /v1/predict",code="3"} 3', server.get('/metrics')[1])
        small = [self.post(self.chunked(BODY), 'Transfer-Encoding: chunked', 'Connection: close'),
                 self.post(gzip.compress(BODY), 'Content-Encoding: gzip', f'Content-Length: {len(gzip.compress(BODY))}',
                           'Connection: close')]
        for request in small:
            self.assertEqual(self.status(self.send(server, request)), 200)

    def test_a_body_without_end_is_cut_off_wherever_it_is_sent(self):
        server = self.serve('--max-message-bytes', '65536', role='predict')
        bomb = gzip.compress(bytes(50 << 20))
        before = server.get('/metrics')[1]
        for path in ('/v1/predict', '/healthz', '/nowhere'):
            for request in ([self.post(b'', 'Transfer-Encoding: chunked', path=path), *[b'100000\r\n' + bytes(1 << 20) + b'\r\n'] * 50],
                            [self.post(bomb, 'Content-Encoding: gzip', f'Content-Length: {len(bomb)}', path=path)]):
                answer = self.send(server, *request)
                self.assertIn(self.status(answer), (0, 404, 405, 413), answer[:300])
        resident = [float(re.search(r'^bib_resident_bytes (\S+)', page, re.M)[1])
                    for page in (before, server.get('/metrics')[1])]
        self.assertLess(resident[1] - resident[0], 40 << 20)

    def test_json_is_refused_where_it_is_no_question(self):
        server = self.serve(role='predict')
        nested = '{"model":"classes","text":' + '[' * (4 << 20)
        keys = '{"model":"classes",' + ','.join(f'"k{i}":1' for i in range(300_000)) + '}'  # minutes, if they are kept
        inner = '{"text":{' + keys[1:] + '}'
        for body, why in ((nested, 'body: has lists'), (keys, 'k0: is not known'), (inner, 'k0: is not known'),
                          (json.dumps({'가' * 30: 1}, ensure_ascii=False), 'is not known'),
                          ('{"texts":[["a"]]}', 'body: has lists'), ('{"text":{"text":"a"}}', 'text: is not a string')):
            status, answer, _ = server.get('/v1/predict', body)
            self.assertEqual(status, 400, answer)
            self.assertIn(why, answer)
        resident = float(re.search(r'^bib_resident_bytes (\S+)', server.get('/metrics')[1], re.M)[1])
        self.assertLess(resident, 300 << 20)

    def test_what_is_left_of_a_request_is_not_taken_for_the_next(self):
        server = self.serve(role='predict')
        hidden = b'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
        length = 'Content-Length: 9000'
        for head in (self.post(b'', length, method='GET', path='/readyz'),
                     self.post(b'', length, method='GET', path='/nowhere'),
                     self.post(b'', length, 'Content-Type: multipart/form-data; boundary=x'),
                     self.post(b'', length, 'Transfer-Encoding: chunked'),
                     self.post(b'', length, path='/healthz'),
                     self.post(b'', length, method='PUT'),
                     self.post(b'', length, method='DELETE', path='/nowhere'),
                     self.post(b'', length, method='HEAD', path='/healthz'),
                     self.post(b'', length, method='HEAD'),
                     self.post(b'', 'Content-Length: 0', length, method='GET', path='/readyz'),
                     self.post(b'', 'Content-Length : 9000', method='GET', path='/readyz'),
                     self.post(b'', 'Content-Length: +9000'),
                     self.post(b'', 'Content-Length: x9000'),
                     self.post(b'', 'Content-Length: 4096', length),
                     self.post(b'', 'Transfer-Encoding: gzip, chunked', method='GET', path='/readyz'),
                     self.post(b'', length, method='PROPFIND', path='/healthz'),
                     self.post(b'', length, path='/' + 'a' * 9000),
                     self.post(b'', length, 'X: ' + 'a' * 9000),
                     self.post(b'', length, 'Range: bytes=x'),
                     self.post(b'', length).replace(b'HTTP/1.1', b'HTTP/9.9'),
                     self.post(b'', length, method='HEAD').replace(b'HTTP/1.1', b'HTTP/9.9')):
            for before in (0, -len(head) % 4096, 5000):
                request = head + bytes(before) + hidden
                request += bytes(len(head) + 9000 - len(request))
                answer = self.send(server, request)
                self.assertNotIn(b'ok\n', answer, request)
                self.assertEqual(answer.count(b'HTTP/1.1'), 1, answer)
        for head in (self.post(b''), self.post(b'', method='HEAD', path='/healthz').replace(b'Host', b'Content-Length')):
            begin = time.monotonic()
            self.assertIn(self.status(self.send(server, head)), (400, 411))
            self.assertLess(time.monotonic() - begin, 3)  # no wait for what will not come

    def numbered(self, kind, number):
        """A request of some kind, whose answer is known by its id."""
        id = f'x-request-id: {number}'
        body = b'{"model":"classes","text":"%d"}' % number
        return (self.post(b'', id, method='GET', path='/healthz'),
                self.post(body, id, f'Content-Length: {len(body)}'),
                self.post(self.chunked(body), id, 'Transfer-Encoding: chunked'),
                self.post(b'', id, method='GET', path='/nowhere'),
                self.post(b'', id, method='HEAD', path='/readyz'))[kind % 5]

    def answers(self, received):
        """Status and id of each answer."""
        return [(int(status), int(id)) for status, id in
                re.findall(rb'HTTP/1\.1 (\d+).*?\r\nx-request-id: (\d+)\r\n', received, re.S)]

    def test_requests_that_come_together_are_answered_in_their_order(self):
        server = self.serve('--queue-ms', '1e9', role='predict')
        count = 203
        last = self.post(b'', f'x-request-id: {count}', 'Connection: close', method='GET', path='/healthz')
        requests = [self.numbered(i, i) for i in range(count)] + [last]
        expected = [((200, 200, 200, 404, 200)[i % 5], i) for i in range(count)] + [(200, count)]
        together = b''.join(requests)
        for parts in ([together],
                      [b'\r\n'.join(requests)],  # an empty line before each, as old clients send them
                      [together[i:i + 1000] for i in range(0, len(together), 1000)],
                      [together[:-1], together[-1:]]):
            received = self.send(server, *parts)
            self.assertEqual(self.answers(received), expected)
            texts = [int(t) for t in re.findall(rb'"text":"(\d+)"', received)]
            self.assertEqual(texts, [i for i in range(count) if i % 5 in (1, 2)])

    def test_answers_before_an_error_are_not_lost(self):
        server = self.serve(role='predict')
        good = b''.join(self.numbered(i, i) for i in range(50))
        for bad, status in ((b'no HTTP at all\r\n\r\n', 400), (self.post(b'', 'Content-Length: 9000', path='/nowhere'), 404)):
            received = self.send(server, good + bad + self.numbered(0, 1000) * 500)
            self.assertEqual([id for _, id in self.answers(received)][:50], list(range(50)))
            self.assertEqual([int(s) for s in re.findall(rb'HTTP/1\.1 (\d+)', received)][50:], [status])

    def test_errors_say_what_and_what_else(self):
        server = self.serve(role='predict')
        for method, path, status in (('GET', '/', 404), ('GET', '/v1/predict', 405), ('PUT', '/v1/predict', 405),
                                     ('POST', '/healthz', 405), ('POST', '/nowhere', 404)):
            answer = self.send(server, self.post(b'', 'Content-Length: 0', 'Connection: close', method=method, path=path))
            self.assertEqual(self.status(answer), status, (method, path, answer))
            error = json.loads(answer.split(b'\r\n\r\n', 1)[1])['error']
            self.assertEqual(error['code'], status)
            self.assertIn('/v1/predict', error['message'])
            self.assertEqual(b'\r\nAllow: ' in answer, status == 405)


if __name__ == '__main__':
    unittest.main()
