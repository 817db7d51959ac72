/** Messages that no kernel sends: each is answered or refused, and none does anything else. */
import { memory } from '@nodeos/block';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { buffersOf } from '../buffers.js';
import { filesystem } from '../files.js';
import { decodeRequest, HEADER, OPCODES, seal } from '../wire.js';

const limits = { request: 64 << 10, readAhead: 0, background: 4 };
const HEADER_IN = 40;

function messageOf(opcode: number, node: bigint, body: Uint8Array, length = HEADER_IN + body.length): Buffer {
  const header = Buffer.alloc(HEADER_IN);
  header.writeUInt32LE(length, 0);
  header.writeUInt32LE(opcode, 4);
  header.writeBigUInt64LE(7n, 8);
  header.writeBigUInt64LE(node, 16);
  return Buffer.concat([header, body]);
}

/** @returns the answer, or the code of the error */
async function answered(message: Buffer): Promise<Buffer | string | undefined> {
  const device = memory(100_000);
  const answer = filesystem([{ name: 'disk', device }], { limits, buffers: buffersOf(limits.request + HEADER) });
  try {
    return await answer(decodeRequest(message));
  } catch (error) {
    return String((error as { code?: unknown }).code);
  }
}

const anyBody = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  // Numbers at the edges, where a body has its offsets and sizes.
  fc
    .array(fc.constantFrom(0n, 1n, 8n, 99_999n, 100_000n, 2n ** 31n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n), {
      maxLength: 12,
    })
    .map((numbers) => new Uint8Array(new BigUint64Array(numbers).buffer)),
);

test('any message gives an answer within its limits, or an error with a code', async () => {
  const opcodes = fc.oneof(fc.constantFrom(...Object.values(OPCODES)), fc.integer({ min: 0, max: 100 }));
  const nodes = fc.constantFrom(0n, 1n, 2n, 3n, 2n ** 53n, 2n ** 64n - 1n);
  await fc.assert(
    fc.asyncProperty(opcodes, nodes, anyBody, async (opcode, node, body) => {
      const answer = await answered(messageOf(opcode, node, body));
      if (typeof answer === 'string') expect(answer).toMatch(/^E[A-Z]+$/);
      else if (answer) expect(answer.length).toBeLessThanOrEqual(HEADER + limits.request);
      else expect([OPCODES.forget, OPCODES.batchForget]).toContain(opcode);
    }),
    { numRuns: 3000 },
  );
});

test('what is shorter than a header, or not as long as it says, is no message', () => {
  const message = messageOf(OPCODES.getattr, 1n, Buffer.alloc(16));
  for (let length = 0; length < message.length; length++)
    expect(() => decodeRequest(message.subarray(0, length))).toThrow(/another length/);
  expect(() => decodeRequest(messageOf(OPCODES.getattr, 1n, Buffer.alloc(16), 40))).toThrow(/another length/);
  expect(decodeRequest(message)).toMatchObject({ opcode: OPCODES.getattr, node: 1, unique: 7n });
});

test('kernels before 5.4 are refused, and one of another major version is asked to ask again', async () => {
  const init = (major: number, minor: number): Promise<Buffer | string | undefined> => {
    const body = Buffer.alloc(64);
    body.writeUInt32LE(major, 0);
    body.writeUInt32LE(minor, 4);
    body.writeUInt32LE(0xffffffff, 12);
    return answered(messageOf(OPCODES.init, 0n, body));
  };
  expect(await init(7, 30)).toBe('EPROTO');
  expect(((await init(8, 0)) as Buffer).subarray(HEADER, HEADER + 16).toString('hex')).toBe(
    '07000000' + '1f000000' + '00000000' + '00000000',
  );
  const modern = seal((await init(7, 45)) as Buffer, 9n);
  expect([modern.length, modern.readUInt32LE(0), modern.readInt32LE(4), modern.readBigUInt64LE(8)]).toEqual([
    80,
    80,
    0,
    9n,
  ]);
  expect(modern.readUInt16LE(HEADER + 28)).toBe(16); // pages of a request
});
