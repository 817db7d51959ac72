import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import type { BlockBackend } from '../backend.js';
import { cache, copyOnWrite, delay, fault, file, formatDelta, http, memory, overlay, overlayLayout } from '../index.js';
import { partition, qcow2, readAhead, readOnly, regions, retry, slice, stats, tarMember, trace } from '../index.js';
import { flushEarly, temporaryOverlay, vmdk, volatile, xz, zstd, type Region } from '../index.js';
import { behavesAsBlockBackend, CHANGES, type Subject } from './contract.js';
import { device, fileDevice, gptOf, qcow2Of, tarOf, tool, xzOf, zstdOf } from './formats.js';
import { bounded, withRandomDelays, ranges, scratch } from './helpers.js';

const path = scratch();
const ALL = [...CHANGES, 'extents', 'resize'] as const;

function filled(content: Uint8Array): BlockBackend {
  const device = memory(content.length, { pageSize: 4096 });
  void device.write?.(content, 0);
  return device;
}

function tarred(content: Uint8Array): Promise<BlockBackend> {
  const name = written(content);
  return tarMember(device(tarOf([name])), basename(name));
}

async function virtual(content: Uint8Array): Promise<BlockBackend> {
  const name = path('vmdk');
  tool('qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', sectors(content), name);
  return slice(await vmdk(fileDevice(name)), 0, content.length);
}

/** A device with other bytes around the content, which begins at `start`. */
function surrounded(content: Uint8Array, start: number): BlockBackend {
  const around = new Uint8Array(start + content.length + 5000).fill(0xee);
  around.set(content, start);
  return filled(around);
}

function written(content: Uint8Array): string {
  const name = path('device');
  writeFileSync(name, content);
  return name;
}

/** Regions of every kind of source, whose ends are far from any alignment. */
function described(content: Uint8Array): BlockBackend {
  const name = written(content);
  const part = Math.ceil(content.length / 7) || 1;
  const list: Region[] = [];
  for (let offset = 0, kind = 0; offset < content.length; offset += part, kind++) {
    const length = Math.min(part, content.length - offset);
    const sources = [
      { file: name, offset },
      content.subarray(offset, offset + length),
      { backend: filled(content), offset },
    ];
    const source = sources[kind % 3];
    if (source) list.push({ offset, length, source });
  }
  return regions(list.reverse(), { openFiles: 1, size: content.length });
}

async function cow(
  base: BlockBackend,
  blockSize: number,
  wrap = (device: BlockBackend) => device,
): Promise<BlockBackend> {
  const layout = overlayLayout(base.size, blockSize);
  const delta = memory(layout.size, { pageSize: 4096 });
  await formatDelta(delta, layout);
  return copyOnWrite(base, wrap(delta));
}

let served: Uint8Array = new Uint8Array(0);
const server = createServer((request, response) => ranges(served)(request, response));
let url = '';
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** The content as a file, padded to whole sectors, because some formats only store those. */
function sectors(content: Uint8Array): string {
  const whole = new Uint8Array(Math.ceil(content.length / 512) * 512);
  whole.set(content);
  return written(whole);
}

const image = async (content: Uint8Array, ...options: string[]): Promise<BlockBackend> => {
  const bytes = qcow2Of(sectors(content), path('qcow2'), ...options);
  return slice(await qcow2(device(bytes)), 0, content.length);
};

let seed = 1;
const subjects: Subject[] = [
  { name: 'memory', make: filled, methods: ALL },
  { name: 'file', make: (content) => file(written(content)), methods: ALL },
  {
    name: 'file without holes',
    make: (content) => file(written(content), { sparse: false }),
    methods: ALL.filter((method) => method !== 'trim'),
  },
  {
    name: 'file, through the thread pool',
    make: (content) => file(written(content), { pace: { largest: -1 } }),
    methods: ALL,
  },
  { name: 'file, read-only', make: (content) => file(written(content), { readOnly: true }), methods: ['extents'] },
  {
    name: 'http',
    make: (content) => {
      served = content;
      return http(url);
    },
    methods: [],
    runs: 25,
  },
  { name: 'regions', make: described, methods: ['extents'] },
  {
    name: 'slice',
    make: (content) => slice(surrounded(content, 1234), 1234, content.length),
    methods: [...CHANGES, 'extents'],
  },
  {
    name: 'partition',
    make: async (content) => slice(await partition(device(gptOf(content, 512)), 1), 0, content.length),
    methods: [...CHANGES, 'extents'],
  },
  { name: 'tarMember', make: tarred, methods: ['extents'], runs: 15 },
  { name: 'xz', make: (content) => xz(device(xzOf(written(content), 4096))), methods: [], runs: 8 },
  { name: 'zstd', make: (content) => zstd(device(zstdOf(content, 4096, path))), methods: [], runs: 8 },
  { name: 'qcow2', make: (content) => image(content), methods: ['extents'], runs: 8 },
  {
    name: 'qcow2, compressed',
    make: (content) => image(content, '-c', '-o', 'cluster_size=4096'),
    methods: ['extents'],
    runs: 8,
  },
  { name: 'vmdk', make: virtual, methods: ['extents'], runs: 8 },
  { name: 'readOnly', make: (content) => readOnly(filled(content)), methods: ['extents'] },
  {
    name: 'cache',
    make: (content) => cache(filled(content), { bytes: 8192, blockSize: 512 }),
    methods: [...ALL, 'prefetch'],
  },
  {
    name: 'cache of a slow device',
    make: (content) => cache(withRandomDelays(filled(content), seed++), { bytes: 8192, blockSize: 512 }),
    methods: [...ALL, 'prefetch'],
    runs: 200,
  },
  {
    name: 'readAhead',
    make: (content) =>
      readAhead(cache(withRandomDelays(filled(content), seed++), { bytes: 16384, blockSize: 512 }), {
        first: 1024,
        most: 4096,
      }),
    methods: [...ALL, 'prefetch'],
  },
  {
    name: 'retry',
    make: (content) =>
      retry(
        fault(
          filled(content),
          [{ fraction: 0.2, transient: true, operations: ['read', 'write', 'zero', 'extents'] }],
          seed++,
        ),
        {
          delay: 0,
          attempts: 100,
        },
      ),
    methods: ALL,
  },
  { name: 'trace', make: (content) => trace(filled(content), () => undefined), methods: ALL },
  { name: 'stats', make: (content) => stats(filled(content)), methods: ALL },
  { name: 'delay', make: (content) => delay(filled(content), 0), methods: ALL },
  { name: 'fault without faults', make: (content) => fault(filled(content), []), methods: ALL },
  { name: 'flush early', make: (content) => flushEarly(filled(content), 1000), methods: ALL },
  { name: 'volatile', make: (content) => volatile(filled(content)), methods: [...CHANGES, 'extents'] },
  {
    name: 'overlay',
    make: (content) => overlay(readOnly(filled(content)), path('delta')),
    methods: [...CHANGES, 'extents'],
    runs: 30,
  },
  {
    name: 'overlay with large blocks',
    make: (content) => overlay(readOnly(filled(content)), path('delta'), { blockSize: 16384 }),
    methods: [...CHANGES, 'extents'],
    runs: 30,
  },
  {
    name: 'temporaryOverlay',
    make: (content) => temporaryOverlay(readOnly(filled(content))),
    methods: [...CHANGES, 'extents'],
    runs: 30,
  },
  { name: 'copyOnWrite', make: (content) => cow(readOnly(filled(content)), 4096), methods: [...CHANGES, 'extents'] },
  {
    name: 'copyOnWrite of slow devices',
    make: (content) =>
      cow(withRandomDelays(readOnly(filled(content)), seed++), 8192, (delta) => withRandomDelays(delta, seed++)),
    methods: [...CHANGES, 'extents'],
    runs: 200,
  },
];

/** The inner device only takes whole blocks; the wrapper around it takes any range. */
const boundedSubjects = (minimum: number, maximum: number): Subject[] => {
  const limited = (inner: BlockBackend): BlockBackend => bounded(inner, minimum, maximum);
  const hinted = [...CHANGES, 'extents', 'prefetch'] as const;
  const all: Subject[] = [
    {
      name: 'overlay',
      make: (content) => overlay(readOnly(limited(filled(content))), path('delta')),
      methods: hinted,
      runs: 30,
    },
    {
      name: 'copyOnWrite, in blocks both',
      make: (content) =>
        cow(readOnly(limited(filled(content))), 4096, (delta) => limited(withRandomDelays(delta, seed++))),
      methods: hinted,
    },
    {
      name: 'slice at a multiple of the minimum',
      make: (content) => slice(limited(surrounded(content, 8192)), 8192, content.length),
      methods: hinted,
    },
    {
      name: 'slice anywhere of a slow device',
      make: (content) => slice(limited(withRandomDelays(surrounded(content, 1234), seed++)), 1234, content.length),
      methods: hinted,
      runs: 200,
    },
    {
      name: 'regions',
      make: (content) => {
        const first = Math.min(100, content.length);
        const rest = { backend: limited(filled(content)), offset: first };
        return regions([
          { length: first, source: content.subarray(0, first) },
          { length: content.length - first, source: rest },
        ]);
      },
      methods: ['extents'],
    },
  ];
  return all.map((one) => ({ ...one, name: `${one.name} (${minimum} to ${maximum} bytes below)` }));
};
subjects.push(...boundedSubjects(512, 64 << 10), ...boundedSubjects(4096, 8192));

describe('the contract of block backends', () => {
  for (const subject of subjects) behavesAsBlockBackend(subject);
});
