import { connect } from 'node:net';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import type { GuestEvent } from '@nodeos/contract';
import { eventParser, listenPort } from '../events.js';

const parsed = (...chunks: (string | Buffer)[]): GuestEvent[] => {
  const events: GuestEvent[] = [];
  const push = eventParser((event) => events.push(event));
  for (const chunk of chunks) push(Buffer.from(chunk));
  return events;
};

const LINES = [
  { us: 100, event: 'pid1' },
  { us: 2000, event: 'step', step: 'network', took: 7, error: 'größer 😀\n"quoted"' },
  { us: 30000, event: 'exit', status: 1, signal: 0 },
];
const STREAM = Buffer.from(LINES.map((line) => JSON.stringify(line) + '\n').join(''));

describe('events', () => {
  it('arrive in one piece or in many', () => {
    expect(parsed(STREAM)).toEqual(LINES);
    expect(parsed(...Array.from(STREAM, (byte) => Buffer.of(byte)))).toEqual(LINES);
    fc.assert(
      fc.property(fc.array(fc.nat(STREAM.length), { maxLength: 10 }), (cuts) => {
        const places = [0, ...cuts.sort((a, b) => a - b), STREAM.length];
        expect(parsed(...places.slice(1).map((end, index) => STREAM.subarray(places[index], end)))).toEqual(LINES);
      }),
    );
  });

  it.each([
    ['no JSON', 'hello\n'],
    ['half a line', '{"us":1,"event":"pi\n'],
    ['no object', '1\n"x"\nnull\ntrue\n[]\n[{"us":1,"event":"x"}]\n'],
    ['no event', '{}\n{"us":1}\n{"us":1,"event":null}\n{"us":1,"event":{}}\n{"us":1,"event":7}\n'],
    ['no time', '{"event":"end"}\n{"us":"1","event":"end"}\n{"us":null,"event":"end"}\n'],
    ['empty lines', '\n\n\r\n   \n'],
    ['no end', '{"us":1,"event":"end","how":1}'],
    ['no detail that it should have', '{"us":1,"event":"end"}\n{"us":1,"event":"exit","status":"0","signal":0}\n'],
    ['a name that is none', '{"us":1,"event":"constructor"}\n'],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0, 10, 0xc3, 10])],
  ])('are not made from %s, and later events still arrive', (_, garbage) => {
    const after = typeof garbage === 'string' && !garbage.endsWith('\n') ? '\n' : '';
    const before = after === '' ? [] : [{ us: 1, event: 'end', how: 1 }];
    expect(parsed(garbage, after, STREAM)).toEqual([...before, ...LINES]);
  });

  it('survive any bytes before them', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (chunks) => {
        const events = parsed(...chunks.map((chunk) => Buffer.from(chunk)), '\n', STREAM);
        expect(events.slice(-LINES.length)).toEqual(LINES);
        for (const { us, event } of events) expect([typeof us, typeof event]).toEqual(['number', 'string']);
      }),
    );
  });

  it('pass on an exception of the listener', () => {
    const push = eventParser(() => {
      throw new Error('a bug of ours');
    });
    expect(() => push(STREAM)).toThrow('a bug of ours');
  });

  it('do not fill the memory with a line that never ends', () => {
    const chunk = Buffer.alloc(1 << 16, 'x');
    expect(parsed(...new Array<Buffer>(64).fill(chunk), '\n', STREAM)).toEqual(LINES);
  });
});

describe('a port', () => {
  it('forwards the data sent to its socket', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'nodeos-port-'));
    const path = join(dir, 'port');
    let text = '';
    const port = await listenPort(path, (chunk) => (text += chunk.toString()));
    const socket = connect(path);
    socket.end('hello');
    await once(socket.resume(), 'close');
    await port.close();
    expect(text).toBe('hello');
    expect(existsSync(path)).toBe(false);
    rmSync(dir, { recursive: true, force: true });
  });

  it('reports that it cannot be created', async () => {
    await expect(listenPort('/nowhere/port', () => undefined)).rejects.toThrow(/ENOENT|EACCES/);
  });
});
