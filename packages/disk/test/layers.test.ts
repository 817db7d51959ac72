import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseLayers, textOf, type Layer } from '../layers.js';
import { canBeWritten, localPath, nameOf, pathBelow } from '../open.js';

describe('prefixes of a source', () => {
  it.each([
    ['disk.img', [], 'disk.img'],
    ['https://host/a:b', [], 'https://host/a:b'],
    ['partition:2:disk.img', [['partition', '2']], 'disk.img'],
    ['partition:12/4096:nbd://host/x', [['partition', '12/4096']], 'nbd://host/x'],
    ['qcow2:tar:a%3Ab/ü.qcow2:https://host/box.ova', [['qcow2', ''], ['tar', 'a:b/ü.qcow2']], 'https://host/box.ova'], // prettier-ignore
    ['partition:1:qcow2:xz:file:///x', [['partition', '1'], ['qcow2', ''], ['xz', '']], 'file:///x'], // prettier-ignore
    ['./qcow2:x', [], './qcow2:x'],
    ['file:qcow2:x', [], 'file:qcow2:x'],
  ])('are parsed: %s', (text, layers, source) => {
    expect(parseLayers(text)).toEqual({ layers: layers.map(([kind, argument]) => ({ kind, argument })), source });
  });

  it('are parsed to what they were formatted from', () => {
    const layer: fc.Arbitrary<Layer> = fc.oneof(
      fc.record({ kind: fc.constant('tar' as const), argument: fc.string({ minLength: 1, unit: 'grapheme' }) }),
      fc.record({ kind: fc.constant('partition' as const), argument: fc.integer({ min: 1, max: 99999 }).map(String) }),
      fc.record({ kind: fc.constantFrom('qcow2' as const, 'xz' as const), argument: fc.constant('') }),
    );
    fc.assert(
      fc.property(fc.array(layer, { maxLength: 5 }), fc.constantFrom('x', '/a:b/c', 's3://b/k'), (layers, source) => {
        expect(parseLayers(textOf({ layers, source }))).toEqual({ layers, source });
      }),
    );
  });

  it.each([
    ['partition:disk.img', 'partition:disk.img: expected partition:N:SOURCE'],
    ['partition:0:x', 'partition:0:x: expected a number, such as partition:1:disk.img'],
    ['partition:1/1000:x', 'expected a number, such as'],
    ['partition:1:', 'expected partition:N:SOURCE'],
    ['qcow2:', 'expected qcow2:SOURCE'],
    ['tar::x', 'expected the name of a file in it'],
    ['tar:100%:x', '%25 is the % itself'],
    ['qcow2:partition:x:y', 'partition:x:y: expected a number'],
  ])('are refused: %s', (text, words) => expect(() => parseLayers(text)).toThrow(words));

  it('determine the path, the name, and whether it can be written', () => {
    expect(localPath('partition:1:disk.img')).toBe(undefined);
    expect(pathBelow('partition:1:qcow2:file:///x/y')).toBe('/x/y');
    expect(pathBelow('xz:https://x/y')).toBe(undefined);
    expect(
      ['partition:1:a/disk.img', 'tar:b/root.img:a/box.ova', 'xz:https://h/d%20k.xz?q', 'qcow2:memory:1'].map(nameOf),
    ).toEqual([...['disk.img', 'root.img', 'd k.xz', '1']]);
    expect(
      ['partition:1:x', 'partition:1:https://x/y', 'partition:1:qcow2:x', 'tar:a:x', 'xz:x', 'zstd:x'].map(
        canBeWritten,
      ),
    ).toEqual([...[true, false, false, false, false, false]]);
  });
});
