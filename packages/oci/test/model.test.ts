import { NodeosError } from '@nodeos/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConfig, parseDocument, parsePlatform, parseReference, referenceText } from '../index.js';

const digest = fc.constantFrom(`sha256:${'0'.repeat(64)}`, 'sha256:0', 'md5:00', '', '../../etc/passwd', 1, null);
const value = fc.oneof(fc.jsonValue(), digest, fc.constantFrom(-1, 1e300, 2 ** 53, []));
const descriptor = fc.record(
  { digest, size: value, mediaType: value, platform: value, annotations: value },
  { requiredKeys: [] },
);
const document = fc.record(
  {
    schemaVersion: fc.constantFrom(2, 2, 2, 1, '2'),
    mediaType: value,
    config: fc.oneof(descriptor, value),
    layers: fc.oneof(fc.array(fc.oneof(descriptor, value)), value),
    manifests: fc.oneof(fc.array(fc.oneof(descriptor, value)), value),
    rootfs: fc.oneof(fc.record({ diff_ids: fc.array(digest) }), value),
    os: value,
  },
  { requiredKeys: ['schemaVersion'] },
);

describe('documents that are not trusted', () => {
  it('are read, or refused with words', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          document.map((one) => JSON.stringify(one)),
          fc.string(),
        ),
        (text) => {
          const bytes = Buffer.from(text);
          for (const read of [() => parseDocument({ bytes, mediaType: '' }, 'it'), () => parseConfig(bytes, 'it')])
            try {
              read();
            } catch (error) {
              expect(error).toBeInstanceOf(NodeosError);
            }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('names', () => {
  it.each([
    ['docker://debian', 'docker://docker.io/library/debian:latest'],
    ['docker://debian:12', 'docker://docker.io/library/debian:12'],
    ['docker://team/app', 'docker://docker.io/team/app:latest'],
    ['docker://localhost/app', 'docker://localhost/app:latest'],
    ['docker://127.0.0.1:5000/a/b:c', 'docker://127.0.0.1:5000/a/b:c'],
    [`docker://h.example/a:b@sha256:${'0'.repeat(64)}`, `docker://h.example/a:b@sha256:${'0'.repeat(64)}`],
    [`docker://h.example/a@sha256:${'0'.repeat(64)}`, `docker://h.example/a@sha256:${'0'.repeat(64)}`],
    ['oci:a/b:c:d', 'oci:a/b:c:d'],
    ['docker-archive:a.tar', 'docker-archive:a.tar'],
  ])('%s is %s', (text, full) => {
    expect(referenceText(parseReference(text))).toBe(full);
  });

  it.each([
    'debian',
    'docker:debian',
    'docker://',
    'docker://UPPER',
    'docker://a:b:c',
    'docker://a@sha256:0',
    'docker://../a',
    'oci:',
    'oci:a:',
    'http://a/b',
    'docker://h.example/a//b',
    'docker://h.example:x/a',
  ])('%s is none', (text) => {
    expect(() => parseReference(text)).toThrow(NodeosError);
  });

  it('of platforms have two parts or three', () => {
    expect(parsePlatform('linux/arm/v7')).toEqual({ os: 'linux', architecture: 'arm', variant: 'v7' });
    for (const text of ['linux', 'linux/', 'a/b/c/d', 'linux/arm/'])
      expect(() => parsePlatform(text)).toThrow(NodeosError);
  });
});
