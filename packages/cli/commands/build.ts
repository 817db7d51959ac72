/** nodeos build: builds layers, and says why. */
import { join, resolve } from 'node:path';
import { UsageError } from '@nodeos/base';
import { DEFAULT_TARGET, targetOf } from '@nodeos/targets';
import { Cache, exportOutput, planOf, type Built, type Step } from '@nodeos/engine';
import { HANDSHAKE } from '@nodeos/init';
import { readTlsFiles, writeTlsInitramfs, type TlsFiles } from '@nodeos/initramfs';
import { applicationOptions, buildSteps, BUILD_OPTIONS } from '../building.js';
import type { Command, Io, Parsed } from '../command.js';
import { checkSystem, runtimeOf, systemOf, type LayerName } from '../system.js';

export const buildCommand: Command = {
  name: 'build',
  summary: 'Builds the layers of a system (default: all that a boot needs).',
  operands: '[LAYER…]',
  options: {
    ...BUILD_OPTIONS,
    app: { type: 'string', short: 'a', value: 'DIR', help: 'put the application of that folder into the initramfs' },
    tls: {
      type: 'string',
      value: 'DIR',
      help: 'with --out: put the certificates or keys of that folder into initramfs-stream, for root=nbds://',
    },
    out: { type: 'string', short: 'o', value: 'DIR', help: 'copy the results there' },
    explain: { type: 'boolean', help: 'only say what would be built, and why' },
  },
  examples: [
    ['nodeos build', 'everything that `nodeos start` needs'],
    ['nodeos build runtime --target aarch64 --out out', 'Node.js and its libraries for another machine'],
    ['nodeos build kernel --explain', 'why the kernel would be built again'],
    ['nodeos build initramfs --app . --lock', 'an application without a lock file: it gets one'],
    [
      'nodeos build --app examples/hello --out out',
      'what boots elsewhere: kernel and initramfs; or kernel, initramfs-base and usr.erofs',
    ],
    [
      'nodeos build kernel initramfs-stream root --app examples/hello --tls pki --out out',
      'what boots from root.erofs on an NBD server with TLS; pki has ca-cert.pem, or keys.psk',
    ],
  ],
  async run(args, io) {
    const target = targetOf(args.text('target') ?? DEFAULT_TARGET);
    const names = args.operands.length > 0 ? args.operands : ['kernel', 'initramfs', 'initramfs-base', 'usr'];
    checkSystem(target, names);
    const app = args.text('app');
    const layers = await systemOf(target, {
      ...(await runtimeOf(target, args, io)),
      fragments: args.texts('fragment').map((dir) => resolve(dir)),
      ...(app === undefined ? {} : { app }),
      ...applicationOptions(args, io),
    });
    const chosen = names.map((name) => {
      const layer = Object.hasOwn(layers, name) ? layers[name as LayerName] : undefined;
      if (layer) return layer;
      throw new UsageError(`unknown layer "${name}"`, { hint: `the layers are: ${Object.keys(layers).join(', ')}` });
    });
    const steps = chosen.map(({ step }) => step);
    const tls = await tlsOf(args, names);
    if (tls) steps.push(layers['tls-handshake'].step);
    if (args.flag('explain')) return explain(steps, args, io);
    const started = performance.now();
    const built = await buildSteps(steps, args, io);
    const out = args.text('out');
    for (const [index, layer] of chosen.entries()) {
      const result = built[index] as Built;
      const paths = out === undefined ? [] : await exportOutput(result, layer.files, resolve(out));
      if (tls && result.step.name === STREAM)
        await writeTlsInitramfs(
          join(result.output, STREAM),
          join(built.at(-1)?.output ?? '', HANDSHAKE),
          tls,
          paths[0] ?? '',
        );
      report(result, paths, args, io);
    }
    if (!args.flag('json') && built.every(({ cached }) => cached)) {
      io.stderr.write(`nothing to do (${((performance.now() - started) / 1000).toFixed(2)} s)\n`);
    }
    return 0;
  },
};

/** The layer that may need certificates, and the file in its output. */
const STREAM = 'initramfs-stream';

/** @throws UsageError if there is nothing that they could go into */
async function tlsOf(args: Parsed, names: readonly string[]): Promise<TlsFiles | undefined> {
  const folder = args.text('tls');
  if (folder === undefined) return undefined;
  if (args.text('out') === undefined || !names.includes(STREAM))
    throw new UsageError(`--tls ${folder}: only for ${STREAM}, and with --out`, {
      hint: `nodeos build kernel ${STREAM} root --app DIR --tls ${folder} --out DIR`,
    });
  return readTlsFiles(resolve(folder));
}

async function explain(steps: readonly Step[], args: Parsed, io: Io): Promise<number> {
  for (const { step, key, state, reasons } of await planOf(new Cache(), steps)) {
    const entry = { step: step.name, target: step.target.name, key, state, reasons };
    const why = state === 'cached' ? 'in the cache' : `to be built\n${reasons.map((r) => `  - ${r}`).join('\n')}`;
    io.stdout.write((args.flag('json') ? JSON.stringify(entry) : `${step.name}: ${why}`) + '\n');
  }
  return 0;
}

function report({ step, key, cached, output }: Built, files: readonly string[], args: Parsed, io: Io): void {
  const result = { event: 'result', step: step.name, key, cached, output, files };
  const text = [`${step.name}: ${output}`, ...files.map((path) => `  ${path}`)].join('\n');
  io.stdout.write((args.flag('json') ? JSON.stringify(result) : text) + '\n');
}
