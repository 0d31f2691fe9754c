"""docs/serving_reference.md lists every flag, call, key and metric of the servers, and no other."""
import re

from server import *

PAGE = (SOURCE / 'docs/serving_reference.md').read_text(encoding='utf-8')


def rows(title):
    """The tables' cells under a heading, without the heads of the tables."""
    section = PAGE.split(f'\n## {title}\n')[1].split('\n## ')[0]
    found = [[cell.strip() for cell in line.strip('|').split('|')] for line in section.splitlines() if line.startswith('|')]
    return found[2:]


def named(cell):
    return re.findall(r'`([^`]+)`', cell)


def options(*verb):
    """What --help lists: the long name of each flag, its default and its variable."""
    done = run_bib(*verb, '--help')
    assert done.returncode == 0, done.stderr
    for names, rest in re.findall(r'^  ((?:-\w,)?--[a-z-]+)(.*)$', done.stdout, re.M):
        name = names.split(',')[-1]
        if name not in ('--help', '--version'):
            default = re.match(r' [A-Z]+(?::[^=(]*)?=(\S+)', rest)
            yield name, default[1] if default else '', re.search(r'\(Env:(\w+)\)', rest)


class Reference(ServerTest):
    def test_flags_of_serve_their_defaults_and_variables(self):
        printed = list(options('serve'))
        self.assertEqual({(name, default) for name, default, _ in printed},
                         {(*named(flag), default) for flag, default, _ in rows('Flags of bib serve')})
        for name, _, variable in printed:
            self.assertEqual(variable[1], 'BIB_' + name[2:].replace('-', '_').upper())

    def test_flags_and_variables_of_client(self):
        verbs = [['train'], ['predict'], ['load'], ['health']]
        verbs += [['jobs', what] for what in ('list', 'get', 'watch', 'cancel', 'resume', 'delete')]
        verbs += [['models', what] for what in ('list', 'load', 'unload', 'alias', 'delete', 'import', 'export')]
        printed = [(f, d, v) for verb in [[], *verbs] for f, d, v in options('client', *verb)]
        table = rows('Flags of bib client')
        listed = {name for row in table for name in named(row[1]) if name.startswith('--')}
        self.assertEqual({flag for flag, _, _ in printed}, listed)
        defaults = {name: value for row in table
                    for name, value in zip([n for n in named(row[1]) if n.startswith('--')], row[2].split(', '))}
        for flag, default, variable in printed:
            self.assertEqual(defaults.get(flag, ''), default if flag not in ('--tls', '--set') else '', flag)
            if variable:
                self.assertIn(f'`{variable[1]}`', PAGE)
        said = ' '.join(row[0] for row in table)
        for verb in verbs:
            self.assertRegex(said, rf'`(?:{verb[0]} )?{verb[-1]}\b', verb)

    def test_calls(self):
        protos = ''.join(path.read_text() for path in (SOURCE / 'serve/protos').glob('*.proto'))
        self.assertEqual(sorted(re.findall(r'^  rpc (\w+)', protos, re.M)),
                         sorted(name for row in rows('Calls') for name in named(row[1])))
        for service in re.findall(r'^service (\w+)', protos, re.M):
            self.assertTrue(any(row[0].endswith(f'.{service}`') for row in rows('Calls')), service)

    def test_keys_of_a_body(self):
        known = (SOURCE / 'serve/http_body.cpp').read_text().split('known{')[1].split('}')[0]
        self.assertEqual(sorted(re.findall(r'"(\w+)"', known)), sorted(name for row in rows('HTTP') for name in named(row[0])))

    def test_metrics(self):
        printed = re.findall(r'^# TYPE (\S+) (\S+)$', self.serve('--allow-empty').get('/metrics')[1], re.M)
        self.assertEqual(sorted(printed), sorted((*named(name), kind) for name, kind, _ in rows('Metrics')))
