"""The files of deploy/: what each overlay comes to, held against the fields Kubernetes knows and what the server needs.

kustomize is not a Debian package, so the few things the overlays use of it (resources, components, JSON patches, suffix,
labels) are done here, strictly: anything else in a kustomization is an error.
"""
import copy
import re
import unittest

import yaml
from server import SOURCE, run_bib

KUBERNETES = SOURCE / 'deploy/kubernetes'

# The fields that may stand in the objects used here (Kubernetes 1.27); None: anything below.
PROBE = {'grpc': {'port', 'service'}, 'periodSeconds': None, 'failureThreshold': None}
SECURITY = {'allowPrivilegeEscalation': None, 'readOnlyRootFilesystem': None, 'capabilities': {'drop'}}
CONTAINER = {'name': None, 'image': None, 'args': None, 'ports': [{'name': None, 'containerPort': None}],
             'startupProbe': PROBE, 'livenessProbe': PROBE, 'readinessProbe': PROBE,
             'resources': {'requests': None, 'limits': None}, 'securityContext': SECURITY,
             'volumeMounts': [{'name': None, 'mountPath': None, 'readOnly': None}]}
POD = {'enableServiceLinks': None, 'terminationGracePeriodSeconds': None, 'nodeSelector': None,
       'tolerations': [{'key': None, 'operator': None, 'effect': None}],
       'securityContext': {'runAsNonRoot': None, 'runAsUser': None, 'fsGroup': None,
                           'fsGroupChangePolicy': None, 'seccompProfile': {'type'}},
       'containers': [CONTAINER],
       'volumes': [{'name': None, 'persistentVolumeClaim': {'claimName'}, 'emptyDir': None}]}
HEAD = {'apiVersion': None, 'kind': None, 'metadata': {'name': None, 'labels': None}}
KNOWN = {
    'apps/v1 Deployment': {**HEAD, 'spec': {
        'replicas': None, 'selector': {'matchLabels': None},
        'strategy': {'type': None, 'rollingUpdate': {'maxUnavailable': None, 'maxSurge': None}},
        'template': {'metadata': {'labels': None, 'annotations': None}, 'spec': POD}}},
    'v1 Service': {**HEAD, 'spec': {'clusterIP': None, 'selector': None,
                                    'ports': [{'name': None, 'port': None, 'targetPort': None}]}},
    'policy/v1 PodDisruptionBudget': {**HEAD, 'spec': {'minAvailable': None, 'selector': {'matchLabels': None}}},
    'autoscaling/v2 HorizontalPodAutoscaler': {**HEAD, 'spec': {
        'scaleTargetRef': {'apiVersion': None, 'kind': None, 'name': None}, 'minReplicas': None, 'maxReplicas': None,
        'metrics': [{'type': None, 'pods': {'metric': {'name'}, 'target': {'type': None, 'averageValue': None}}}]}},
    'v1 PersistentVolumeClaim': {**HEAD, 'spec': {'accessModes': None, 'resources': {'requests': None}}},
}


def unknown_fields(value, known, at=''):
    if known is None:
        return []
    if isinstance(known, list):
        if not isinstance(value, list):
            return [f'{at} is no list']
        return [e for i, item in enumerate(value) for e in unknown_fields(item, known[0], f'{at}[{i}]')]
    if isinstance(known, set):
        known = dict.fromkeys(known)
    if not isinstance(value, dict):
        return [f'{at} is no object']
    return [e for k, v in value.items()
            for e in (unknown_fields(v, known[k], f'{at}.{k}') if k in known else [f'{at}.{k} is not known'])]


def apply(target, patch):
    """One operation of a JSON patch (RFC 6902)."""
    *path, last = [p.replace('~1', '/').replace('~0', '~') for p in patch['path'].split('/')[1:]]
    for step in path:
        target = target[int(step) if isinstance(target, list) else step]
    if isinstance(target, list):
        assert patch['op'] == 'add' and last == '-', patch
        target.append(patch['value'])
    else:
        assert patch['op'] == 'add' or (patch['op'] == 'replace' and last in target), patch
        target[last] = patch['value']


def render(folder):
    """The objects of a kustomization."""
    k = yaml.safe_load((folder / 'kustomization.yaml').read_text())
    assert set(k) <= {'apiVersion', 'kind', 'nameSuffix', 'resources', 'components', 'labels', 'patches'}, k
    objects = []
    for name in k.get('resources', []):
        path = folder / name
        objects += render(path) if path.is_dir() else [o for o in yaml.safe_load_all(path.read_text())]
    parts = [folder] + [folder / c for c in k.get('components', [])]
    for part in parts[1:]:
        objects += render_component(part, objects)
    for patch in k.get('patches', []):
        apply_all(objects, patch)
    suffix = k.get('nameSuffix', '')
    for o in objects:
        if suffix:
            o['metadata']['name'] += suffix
            if o['kind'] == 'HorizontalPodAutoscaler':
                o['spec']['scaleTargetRef']['name'] += suffix
        for label in k.get('labels', []):
            assert label['includeSelectors']
            for at in (o['metadata'].setdefault('labels', {}), *selectors(o)):
                at.update(label['pairs'])
    return objects


def render_component(folder, objects):
    k = yaml.safe_load((folder / 'kustomization.yaml').read_text())
    assert k['kind'] == 'Component' and set(k) <= {'apiVersion', 'kind', 'resources', 'patches'}, k
    own = [o for name in k.get('resources', []) for o in yaml.safe_load_all((folder / name).read_text())]
    for patch in k.get('patches', []):
        apply_all(objects + own, patch)
    return own


def apply_all(objects, patch):
    found = [o for o in objects if o['kind'] == patch['target']['kind'] and o['metadata']['name'] == patch['target']['name']]
    assert found, f'no object for {patch["target"]}'
    for operation in yaml.safe_load(patch['patch']):
        for o in found:
            apply(o, copy.deepcopy(operation))


def selectors(o):
    if o['kind'] == 'Deployment':
        return [o['spec']['selector']['matchLabels'], o['spec']['template']['metadata']['labels']]
    if o['kind'] == 'Service':
        return [o['spec']['selector']]
    return [o['spec']['selector']['matchLabels']] if 'selector' in o['spec'] else []


class DeployTest(unittest.TestCase):
    def flags_of_serve(self):
        return set(re.findall(r'--[a-z-]+', run_bib('serve', '--help').stdout))

    def check_arguments(self, arguments):
        known = self.flags_of_serve()
        for a in arguments:
            if a.startswith('--'):
                self.assertIn(a, known)

    def test_overlays(self):
        volume = render(KUBERNETES / 'volume')[0]
        self.assertEqual(unknown_fields(volume, KNOWN['v1 PersistentVolumeClaim']), [])
        for role in ('train', 'predict'):
            for device in ('cpu', 'gpu'):
                name = f'{role}-{device}'
                objects = {o['kind']: o for o in render(KUBERNETES / 'overlays' / name)}
                for o in objects.values():
                    self.assertEqual(unknown_fields(o, KNOWN[f'{o["apiVersion"]} {o["kind"]}']), [], name)
                    self.assertEqual(o['metadata']['name'], f'bib-{name}')
                deployment = objects['Deployment']['spec']
                pod = deployment['template']['spec']
                container, = pod['containers']
                labels = deployment['template']['metadata']['labels']
                self.assertEqual(labels['app.kubernetes.io/component'], name)
                for o in objects.values():
                    for selector in selectors(o):
                        self.assertLessEqual(selector.items(), labels.items())
                self.check_arguments(container['args'])
                self.assertEqual(container['args'][container['args'].index('--role') + 1], role)
                # Probes and ports meet what the image listens on; the pod is given time to drain.
                ports = {p['containerPort'] for p in container['ports']}
                for probe in ('startupProbe', 'livenessProbe', 'readinessProbe'):
                    self.assertIn(container[probe]['grpc']['port'], ports)
                self.assertEqual(container['livenessProbe']['grpc']['service'], 'bib.Live')
                self.assertNotIn('service', container['readinessProbe']['grpc'])  # the whole server's readiness
                self.assertGreater(pod['terminationGracePeriodSeconds'], 5 + 30)  # --drain-seconds, --drain-timeout
                self.assertTrue(pod['securityContext']['runAsNonRoot'])
                self.assertTrue(container['securityContext']['readOnlyRootFilesystem'])
                self.assertEqual({m['name'] for m in container['volumeMounts']}, {v['name'] for v in pod['volumes']})
                self.assertEqual(pod['volumes'][0]['persistentVolumeClaim']['claimName'], volume['metadata']['name'])
                self.assertEqual(container['volumeMounts'][0].get('readOnly', False), role == 'predict')
                # A service of the namespace sets no flag by its variables; scaling reaches clients that are connected.
                self.assertIs(pod['enableServiceLinks'], False)
                self.assertEqual('--connection-seconds' in container['args'], role == 'predict')
                scraped = deployment['template']['metadata']['annotations']
                self.assertIn(int(scraped['prometheus.io/port']), ports)
                # A GPU is asked for where there is one to use.
                self.assertEqual(container['image'], f'bib:{device}')
                self.assertEqual(container['resources']['limits'].get('nvidia.com/gpu'), 1 if device == 'gpu' else None)
                self.assertEqual('nodeSelector' in pod, device == 'gpu')
                self.assertEqual('cuda' in container['args'], device == 'gpu')
                # Prediction scales and is replaced one by one; training is one at a time.
                self.assertEqual('HorizontalPodAutoscaler' in objects, role == 'predict')
                self.assertEqual('PodDisruptionBudget' in objects, role == 'predict')
                self.assertEqual(deployment['strategy']['type'], 'RollingUpdate' if role == 'predict' else 'Recreate')
                if role == 'predict':
                    target = objects['HorizontalPodAutoscaler']['spec']
                    self.assertEqual(target['scaleTargetRef']['name'], f'bib-{name}')
                    metrics = {m['pods']['metric']['name'] for m in target['metrics']}
                    source = ''.join(p.read_text() for p in (SOURCE / 'serve').glob('*.cpp'))
                    self.assertIn('bib_queue_requests', metrics)
                    for metric in metrics:
                        self.assertIn(f'"{metric}"', source)

    def test_a_wrong_field_is_found(self):
        objects = render(KUBERNETES / 'overlays/train-cpu')
        deployment = next(o for o in objects if o['kind'] == 'Deployment')
        container = deployment['spec']['template']['spec']['containers'][0]
        container['readinessProb'] = container.pop('readinessProbe')
        self.assertEqual(len(unknown_fields(deployment, KNOWN['apps/v1 Deployment'])), 1)

    def test_compose(self):
        compose = yaml.safe_load((SOURCE / 'deploy/compose.yaml').read_text())
        services = compose['services']
        ports = {name: s['ports'][0] for name, s in services.items()}
        self.assertEqual(ports, {f'{role}-{device}': f'127.0.0.1:{20001 + i + 2 * j}:50051'
                                 for j, role in enumerate(('train', 'predict')) for i, device in enumerate(('cpu', 'gpu'))})
        states = set()
        for name, s in services.items():
            role, device = name.split('-')
            self.assertEqual((s['image'], s['build']['dockerfile']), (f'bib:{device}', f'deploy/Dockerfile.{device}'))
            self.assertTrue((SOURCE / s['build']['dockerfile']).exists())
            self.check_arguments(s['command'])
            self.assertEqual(s['command'][s['command'].index('--role') + 1], role)
            self.assertTrue(s['read_only'] and s['cap_drop'] == ['ALL'])
            self.assertEqual('deploy' in s, device == 'gpu')
            if role == 'train':
                states.add(s['command'][s['command'].index('--state') + 1])
        self.assertEqual(len(states), 2)

    def test_dockerfiles(self):
        for device in ('cpu', 'gpu'):
            text = (SOURCE / f'deploy/Dockerfile.{device}').read_text()
            for line in ('FROM scratch', 'USER 10001:10001', 'STOPSIGNAL SIGTERM', 'HEALTHCHECK', 'AS build'):
                self.assertIn(line, text)
            command = re.search(r'^CMD (\[.*\])$', text, re.M)[1]
            self.check_arguments(yaml.safe_load(command))
            for copied in re.findall(r'/src/((?:deploy|scripts)/[a-z-]+)', text):
                self.assertTrue((SOURCE / copied).exists(), copied)
                self.assertIn(f'!{copied}', (SOURCE / '.dockerignore').read_text())


if __name__ == '__main__':
    unittest.main()
