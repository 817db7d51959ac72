/** The server, judged by the clients of other implementations: libnbd, QEMU, fio, nbd-client. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { memory } from '@nodeos/block';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  FAILS,
  withOverrides,
  withoutClose,
  KIB,
  MIB,
  nbdsh,
  nbdshApart,
  requirePrograms,
  NO_THREADS,
  singleExport,
  output,
  pattern,
  run,
  serve as serveWith,
  THREADS,
} from './support.js';
import { tempDir, type Served } from './support.js';
import type { ServerOptions } from '../server/server.js';

beforeAll(() => requirePrograms('nbdinfo', 'nbdcopy', 'nbdsh', 'qemu-img', 'qemu-io', 'fio', 'nbd-client'));

/** A device with data, a hole, and data. */
async function sparse(): Promise<ReturnType<typeof memory>> {
  const backend = memory(4 * MIB);
  await backend.write?.(pattern(MIB, 7), 0);
  await backend.write?.(pattern(64 * KIB, 8), 3 * MIB);
  return backend;
}

describe.each([
  ['the event loop', NO_THREADS],
  ['threads', THREADS],
])('served by %s:', (_, way) => {
  const serve = (exports: ServerOptions['exports']): Promise<Served> => serveWith(exports, way);

  describe('nbdinfo', () => {
    it('lists the exports with their capabilities', async () => {
      const { uri } = await serve({
        '': { open: () => memory(MIB) },
        disk: { open: () => memory(2 * MIB), description: 'für Bücher' },
        fixed: { open: () => memory(3 * MIB), readOnly: true },
      });
      const { exports, ...rest } = JSON.parse(await output('nbdinfo', '--list', '--json', uri())) as {
        exports: Record<string, unknown>[];
      };
      expect(rest).toMatchObject({ protocol: 'newstyle-fixed', TLS: false, structured: true });
      expect(exports).toMatchObject([
        { 'export-name': '', 'export-size': MIB },
        { 'export-name': 'disk', description: 'für Bücher', 'export-size': 2 * MIB, is_read_only: false },
        { 'export-name': 'fixed', is_read_only: true, can_flush: false, can_trim: false, can_zero: false },
      ]);
      expect(exports[1]).toMatchObject({
        contexts: ['base:allocation'],
        is_rotational: false,
        ...{ can_cache: false, can_df: true, can_fast_zero: true, can_flush: true, can_fua: true },
        ...{ can_multi_conn: true, can_trim: true, can_zero: true },
        ...{ block_size_minimum: 1, block_size_preferred: 4096, block_size_maximum: 32 * MIB },
      });
    });

    it('reports the size, the map and the capabilities', async () => {
      const { uri } = await serve(
        singleExport(withOverrides(await sparse(), { prefetch: () => undefined, trim: undefined })),
      );
      expect(await output('nbdinfo', '--size', uri())).toBe(`${4 * MIB}\n`);
      expect(JSON.parse(await output('nbdinfo', '--map', '--json', uri()))).toEqual([
        { offset: 0, length: MIB, type: 0, description: 'data' },
        { offset: MIB, length: 2 * MIB, type: 3, description: 'hole,zero' },
        { offset: 3 * MIB, length: 64 * KIB, type: 0, description: 'data' },
        { offset: 3 * MIB + 64 * KIB, length: MIB - 64 * KIB, type: 3, description: 'hole,zero' },
      ]);
      const able = async (what: string): Promise<number> => (await run('nbdinfo', '--can', what, uri())).status;
      for (const what of ['connect', 'cache', 'df', 'fast-zero', 'flush', 'fua', 'multi-conn', 'write', 'zero'])
        expect([what, await able(what)]).toEqual([what, 0]);
      expect(await able('trim')).toBe(2);
      expect((await run('nbdinfo', '--is', 'read-only', uri())).status).toBe(2);
    });

    it('reports a missing export', async () => {
      const { uri, server } = await serve({ disk: { open: () => memory(MIB) } });
      const { status, stderr } = await run('nbdinfo', uri('other'));
      expect([status, stderr]).toEqual([1, expect.stringContaining('No such file or directory')]);
      expect(server.openExports).toEqual([]);
    });
  });

  describe('nbdsh in the handshake', () => {
    it('lists, looks and chooses', async () => {
      const { path } = await serve({
        a: { open: () => memory(MIB), description: 'first' },
        b: { open: () => memory(9) },
      });
      const script = `
h.set_opt_mode(True)
h.connect_unix("${path}")
names = []
print(h.opt_list(lambda name, text: names.append((name, text))), names)
h.set_export_name("b")
h.opt_info()
print(h.get_size(), h.get_structured_replies_negotiated())
contexts = []
for wish in [], ["base:"], ["base:allocation"], ["base:other"], ["x-none:"]:
    h.clear_meta_contexts()
    for name in wish: h.add_meta_context(name)
    print(h.opt_list_meta_context(lambda name: contexts.append(name)))
print(contexts)
h.set_export_name("none")
try: h.opt_go()
except nbd.Error as error: print(error.string)
h.set_export_name("a")
h.set_full_info(True)
h.clear_meta_contexts()
h.add_meta_context("base:allocation")
h.opt_go()
print(h.get_size(), h.get_canonical_export_name(), h.get_export_description(), h.can_meta_context("base:allocation"))
h.shutdown()`;
      expect((await nbdshApart(script)).split('\n')).toEqual([
        "2 [('a', 'first'), ('b', '')]",
        '9 True',
        ...['1', '1', '1', '0', '0'],
        "['base:allocation', 'base:allocation', 'base:allocation']",
        expect.stringContaining('No such file or directory'),
        `${MIB} a first True`,
        '',
      ]);
    });

    it('works without structured replies and without fixed newstyle, and leaves properly', async () => {
      const { path, uri } = await serve(singleExport(await sparse()));
      const script = `
import hashlib
h.set_request_structured_replies(False)
h.connect_unix("${path}")
print(h.get_structured_replies_negotiated(), h.can_df(), hashlib.sha256(h.pread(1048576, 0)).hexdigest() != "")
try: h.pread_structured(1, 4194304, lambda *all: 0)
except nbd.Error as error: print(error.errnum)
print(h.pread(2, 1048576))
other = nbd.NBD()
other.set_handshake_flags(0)
other.connect_unix("${path}")
print(other.get_protocol(), other.get_size(), bytes(other.pread(1, 2097152)))
third = nbd.NBD()
third.set_opt_mode(True)
third.connect_unix("${path}")
third.opt_abort()
print(third.aio_is_closed())`;
      expect(await nbdshApart(script)).toBe(
        ['False False True', '22', "bytearray(b'\\x00\\x00')", `newstyle ${4 * MIB} b'\\x00'`, 'True', ''].join('\n'),
      );
      expect(await nbdsh(uri(), 'print(h.get_handshake_flags(), h.get_protocol())')).toBe('3 newstyle-fixed\n');
    });
  });

  describe('nbdsh with requests', () => {
    it('reads holes as such, and one piece with DF', async () => {
      const { uri } = await serve(singleExport(await sparse()));
      const script = `
def show(buffer, offset, state, error): print(len(buffer), offset, state)
h.pread_structured(3 * 1048576 + 131072, 524288, show)
h.pread_structured(2 * 1048576, 524288, show, nbd.CMD_FLAG_DF)
h.set_strict_mode(0)
h.pread_structured(0, 0, show)
print("end")`;
      const [data, hole] = [1, 2];
      const pieces = [
        [512 * KIB, 512 * KIB, data],
        [2 * MIB, MIB, hole],
        [64 * KIB, 3 * MIB, data],
        [576 * KIB, 3 * MIB + 64 * KIB, hole],
        [2 * MIB, 512 * KIB, data],
      ];
      expect(await nbdsh(uri(), script)).toBe([...pieces.map((piece) => piece.join(' ')), 'end\n'].join('\n'));
    });

    it('writes, trims, zeroes, caches and asks for the block status', async () => {
      const calls: unknown[] = [];
      const backend = memory(MIB);
      const { uri } = await serve(
        singleExport(
          withOverrides(backend, {
            flush: () => void calls.push('flush'),
            prefetch: (offset, length) => void calls.push(['prefetch', offset, length]),
            zero(offset, length, options = {}) {
              calls.push(['zero', offset, length, options]);
              return backend.zero?.(offset, length, options);
            },
          }),
        ),
      );
      const script = `
h.pwrite(b"A" * 65536, 0)
h.pwrite(b"B" * 65536, 65536, nbd.CMD_FLAG_FUA)
h.zero(65536, 0, nbd.CMD_FLAG_NO_HOLE)
h.zero(4096, 65536, nbd.CMD_FLAG_FAST_ZERO)
h.trim(65536, 65536, nbd.CMD_FLAG_FUA)
h.cache(4096, 8192)
h.flush()
print(bytes(h.pread(65536, 65536)) == b"\\0" * 65536)`;
      await nbdsh(uri(), script);
      expect(calls).toEqual([
        'flush',
        ['zero', 0, 64 * KIB, { mayTrim: false, fast: false }],
        ['zero', 64 * KIB, 4096, { mayTrim: true, fast: true }],
        'flush',
        ['prefetch', 8192, 4096],
        'flush',
      ]);
      const states = `
h.add_meta_context("base:allocation")
h.connect_uri("${uri()}")
h.block_status(1048576, 0, lambda context, offset, entries, error: print(context, offset, entries))
h.block_status(1048576, 0, lambda context, offset, entries, error: print(entries), nbd.CMD_FLAG_REQ_ONE)`;
      expect(await nbdshApart(states)).toBe(`base:allocation 0 [${64 * KIB}, 0, ${960 * KIB}, 3]\n[${64 * KIB}, 0]\n`);
    });

    it('gets the errors of the specification on a connection that continues', async () => {
      const { uri } = await serve({
        '': { open: () => memory(64 * MIB) },
        fixed: { open: () => memory(MIB), readOnly: true },
        plain: { open: () => withOverrides(memory(MIB), { zero: undefined, trim: undefined, flush: undefined }) },
      });
      const script = `${FAILS}
h.set_strict_mode(0)
end = 67108864
print(fails(h.pread, 2, end - 1), fails(h.pread, 1, end), fails(h.pread, 0, end), fails(h.pread, 1, 1 << 63))
print(fails(h.pwrite, b"12", end - 1), fails(h.zero, 2, end - 1), fails(h.trim, 2, end - 1))
print(fails(h.block_status, 2, end - 1, lambda *all: 0), fails(h.cache, 1, 0))
print(fails(h.pread, 33554433, 0), fails(h.pwrite, bytes(33554433), 0), fails(h.zero, 33554433, 0))
print(fails(h.pread, 1, 0, nbd.CMD_FLAG_FUA), fails(h.pwrite, b"1", 0, nbd.CMD_FLAG_DF), fails(h.trim, 1, 0, 1 << 15))
print(fails(h.flush, 2), fails(h.pread, 1, 0, nbd.CMD_FLAG_REQ_ONE), fails(h.zero, 1, 0, nbd.CMD_FLAG_NO_HOLE))
print(fails(h.pwrite, b"1", 0))`;
      expect((await nbdsh(uri(), script)).trim().split('\n')).toEqual([
        'EINVAL EINVAL done EINVAL',
        'ENOSPC ENOSPC EINVAL',
        'EINVAL EINVAL',
        'EINVAL EINVAL done',
        'done EINVAL EINVAL',
        'EINVAL EINVAL done',
        'done',
      ]);
      const fixed = `${FAILS}
h.set_strict_mode(0)
print(fails(h.pwrite, b"1" * 70000, 0), fails(h.zero, 1, 0), fails(h.trim, 1, 0), fails(h.flush), fails(h.pread, 1, 0))`;
      expect(await nbdsh(uri('fixed'), fixed)).toBe('EPERM EPERM EPERM EINVAL done\n');
      const plain = `${FAILS}
h.set_strict_mode(0)
fast = nbd.CMD_FLAG_FAST_ZERO
print(fails(h.zero, 1, 0), fails(h.zero, 1, 0, fast), fails(h.trim, 1, 0), fails(h.pwrite, b"1", 0, nbd.CMD_FLAG_FUA))`;
      expect(await nbdsh(uri('plain'), plain)).toBe('done ENOTSUP EINVAL EINVAL\n');
    });

    it('respects a device of 512-byte blocks', async () => {
      const blockSizes = { minimum: 512, preferred: 4096, maximum: MIB };
      const { uri } = await serve(singleExport(withOverrides(memory(4 * MIB), { blockSizes })));
      const script = `${FAILS}
print([h.get_block_size(kind) for kind in (nbd.SIZE_MINIMUM, nbd.SIZE_PREFERRED, nbd.SIZE_MAXIMUM)])
h.set_strict_mode(0)
print(fails(h.pread, 512, 1), fails(h.pread, 511, 0), fails(h.pwrite, b"1", 512), fails(h.zero, 512, 8), fails(h.trim, 1, 0))
print(fails(h.pread, 1048576, 512), fails(h.pread, 1049088, 0), fails(h.pwrite, bytes(1049088), 0), fails(h.zero, 2097152, 0))`;
      expect(await nbdsh(uri(), script)).toBe(
        `[512, 4096, ${MIB}]\nEINVAL EINVAL EINVAL EINVAL EINVAL\ndone EINVAL EINVAL done\n`,
      );
    });

    it("gets the code of a backend's error and nothing else", async () => {
      const fail = (code: string): never => {
        throw Object.assign(new Error('secret: /var/lib/disk'), { code });
      };
      const codes = ['EIO', 'EDQUOT', 'EACCES', 'ENOENT', 'ENOMEM', 'EINVAL'];
      const { uri, events } = await serve(
        singleExport(
          withOverrides(memory(MIB), {
            read: async (_into, offset) => Promise.resolve().then(() => fail(codes[offset] ?? 'EIO')),
            write: (_bytes, offset) => fail(codes[offset] ?? 'EIO'),
          }),
        ),
      );
      const script = `${FAILS}
print([fails(h.pread, 1, at) for at in range(6)], [fails(h.pwrite, b"1", at) for at in range(6)], fails(h.trim, 1, 0))
h.set_debug(True)
h.set_debug_callback(lambda context, text: print("LEAK") if "secret" in text else None)
fails(h.pread, 1, 0)`;
      const names = "['EIO', 'ENOSPC', 'EPERM', 'EIO', 'ENOMEM', 'EINVAL']";
      expect(await nbdsh(uri(), script)).toBe(`${names} ${names} done\n`);
      expect(events.filter(({ event }) => event === 'request')).toHaveLength(13);
    });

    it('sees on one connection what another one wrote and flushed', async () => {
      let flushed = Buffer.alloc(0);
      const backend = memory(MIB);
      const flush = (): void => void backend.read((flushed = Buffer.alloc(4)), 0);
      const { uri } = await serve(singleExport(withOverrides(backend, { flush })));
      const script = `
other = nbd.NBD()
other.connect_uri("${uri()}")
print(h.can_multi_conn(), other.can_multi_conn())
h.pwrite(b"wxyz", 0)
other.flush()
print(bytes(other.pread(4, 0)))`;
      expect(await nbdsh(uri(), script)).toBe("True True\nb'wxyz'\n");
      expect(flushed.toString()).toBe('wxyz');
    });
  });

  describe('copies', () => {
    it('are equal in both directions with nbdcopy', async () => {
      const [from, to] = [await sparse(), memory(4 * MIB)];
      const { uri } = await serve({
        from: { open: () => withoutClose(from), readOnly: true },
        to: { open: () => withoutClose(to) },
      });
      const file = join(tempDir(), 'copy');
      await output('nbdcopy', '--connections=4', uri('from'), file);
      await output('nbdcopy', '--connections=4', '--flush', file, uri('to'));
      const wanted = Buffer.alloc(4 * MIB);
      await from.read(wanted, 0);
      expect((await readFile(file)).equals(wanted)).toBe(true);
      expect((await stat(file)).blocks * 512).toBeLessThan(2 * MIB);
      await output('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', uri('from'), uri('to'));
      await output('nbdcopy', '--destination-is-zero', '--synchronous', uri('to'), file);
      expect((await readFile(file)).equals(wanted)).toBe(true);
      expect(to.extents?.(0, 4 * MIB)).toEqual(from.extents?.(0, 4 * MIB));
    });

    it('are equal with qemu-img, which sees the holes', async () => {
      const from = await sparse();
      const { uri } = await serve({ from: { open: () => withoutClose(from) }, to: { open: () => memory(4 * MIB) } });
      const image = join(tempDir(), 'copy.qcow2');
      const info = JSON.parse(await output('qemu-img', 'info', '--output=json', uri('from'))) as object;
      expect(info).toMatchObject({ 'virtual-size': 4 * MIB, format: 'raw' });
      const map = JSON.parse(await output('qemu-img', 'map', '--output=json', uri('from'))) as object[];
      expect(map).toMatchObject([
        { start: 0, length: MIB, zero: false, data: true },
        { start: MIB, length: 2 * MIB, zero: true, data: false },
        { start: 3 * MIB, length: 64 * KIB, zero: false, data: true },
        { start: 3 * MIB + 64 * KIB, zero: true, data: false },
      ]);
      await output('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri('from'), image);
      await output('qemu-img', 'compare', image, uri('from'));
      await output('qemu-img', 'convert', '-n', '-W', '-O', 'raw', image, uri('from'));
      await output('qemu-img', 'compare', image, uri('from'));
    });
  });

  describe('patterns', () => {
    it('are read as qemu-io wrote them', async () => {
      const { uri } = await serve({ '': { open: () => memory(16 * MIB) } });
      const commands = [
        ...['write -P 0x11 0 3M', 'write -P 0x22 -f 1M 64k', 'discard 2M 1M', 'write -z 1536k 64k', 'write -z -u 0 4k'],
        ...['write -P 0x33 15M 1M', 'flush', 'read -P 0 0 4k', 'read -P 0x11 4k 1020k', 'read -P 0x22 1M 64k'],
        ...['read -P 0 1536k 64k', 'read -P 0x33 15M 1M', 'aio_write -P 0x44 5M 7M', 'aio_flush', 'read -P 0x44 5M 7M'],
      ];
      const said = await output('qemu-io', '-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri());
      expect(said).not.toContain('failed');
      expect(said.match(/^(read|wrote|discard) /gm)).toHaveLength(commands.length - 2);
    });

    it('are verified by fio over several connections', async () => {
      const { uri, server } = await serve({ '': { open: () => memory(32 * MIB) } });
      const job = join(tempDir(), 'job.fio');
      const lines = ['[global]', 'ioengine=nbd', `uri=${uri()}`, 'rw=randrw', 'bsrange=512-128k', 'iodepth=32'];
      await writeFile(
        job,
        [...lines, 'verify=crc32c', 'verify_fatal=1', 'verify_state_save=0', 'size=8m'].join('\n') + '\n',
      );
      const jobs = [0, 1, 2, 3].map((index) => `[job${index}]\noffset=${index * 8}m\n`);
      await writeFile(job, jobs.join(''), { flag: 'a' });
      const { connections } = server.metrics;
      // On a busy machine a connection may not look busy at once, and stays where it is.
      for (let round = 0; round === 0 || (way === THREADS && connections.moved === 0 && round < 10); round++)
        await output('fio', '--output-format=terse', job);
      expect(server.metrics.connections.accepted).toBeGreaterThanOrEqual(4);
      expect(server.metrics.commands[1]?.errors).toBe(0);
      expect(server.metrics.connections.moved > 0).toBe(way === THREADS);
    });

    it('are on exports that nbd-client lists', async () => {
      const { server } = await serve({ disk: { open: () => memory(MIB) }, other: { open: () => memory(MIB) } });
      const port = new URL(await server.listen({ port: 0 })).port;
      const { stdout } = await run('nbd-client', '-l', '127.0.0.1', port);
      expect(stdout).toMatch(/^disk$[^]*^other$/m);
    });
  });
});
