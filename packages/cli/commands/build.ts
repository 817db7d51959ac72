/** nodeos build: builds layers and explains why. */
import { join, resolve } from 'node:path';
import { UsageError } from '@nodeos/base';
import { FORMATS, formatOf } from '@nodeos/bootfs';
import { DEFAULT_TARGET, targetOf } from '@nodeos/targets';
import { Cache, planOf, stepsOf, type BuildResult, type Built, type Step } from '@nodeos/engine';
import { readTlsFiles, type TlsFiles } from '@nodeos/initramfs';
import { buildingOf, buildSteps, BUILD_OPTIONS, systemFor, type Building } from '../building.js';
import { printMessage, type Command, type Io, type Parsed, type Unlisted } from '../command.js';
import { settle, type Settled } from '../config/settle.js';
import { exportFile } from '../export-file.js';
import { checkSystem, formatLayer, layerOf, type Layer, type System } from '../system.js';

/** What is built if nothing is named. */
const DEFAULT_LAYERS: readonly string[] = ['kernel', 'initramfs', 'initramfs-base', 'usr'];
/** The layers that are the same with every application. */
const WITHOUT_APP: readonly string[] = [
  'kernel',
  'runtime',
  'usr',
  'init',
  'initramfs-stream',
  'tls-handshake',
  'linuxfs-kernel',
  'linuxfs-kernel-virt',
];

export const buildCommand: Unlisted<Command> = {
  operands: '[LAYER…]',
  options: {
    ...BUILD_OPTIONS,
    app: { type: 'string', short: 'a', value: 'DIR', help: 'put the application of that folder into the initramfs' },
    format: {
      type: 'string',
      short: 'f',
      multiple: true,
      value: 'F[,F…]',
      help: `${FORMATS.map(({ name }) => name).join(', ')}; single files also compressed: disk.zst, iso.xz; again for more`,
    },
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
    ['nodeos build --format disk.zst,qcow2 --app . --out out', 'a disk for a stick, compressed, and one for QEMU'],
    ['nodeos build --format pxe --app . --out out', 'a folder for machines that boot from the network: out/pxe'],
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
  async run(given, io) {
    const formats = given.texts('format').flatMap((list) => list.split(','));
    for (const name of formats) formatOf(name);
    const isDefault = given.operands.length + formats.length === 0;
    const names = isDefault ? DEFAULT_LAYERS : given.operands;
    const settled = await settle(given.text('app'), given, io);
    const { args } = settled;
    const target = targetOf(args.text('target') ?? DEFAULT_TARGET);
    checkSystem(target, [...names, ...formats]);
    const system = await systemFor(target, needed(settled, [...names, ...formats]), io);
    const layers =
      isDefault && system.wantedFormats.length > 0
        ? manifestLayers(system, io)
        : [...names.map((name) => layerOf(system, name)), ...formats.map((name) => formatLayer(system, name))];
    const secrets = await secretsOf(args, layers);
    const programs = secrets ? layers.flatMap(({ seal }) => seal?.program ?? []) : [];
    const steps = stepsOf(...layers.map(({ artifacts }) => artifacts[0]), ...programs);
    const building = buildingOf(settled);
    if (args.flag('explain')) return explain(steps, building, io);
    const started = performance.now();
    const built = await buildSteps(steps, building, io);
    const out = args.text('out');
    for (const layer of layers) {
      const paths = out === undefined ? [] : await exportLayer(layer, built, resolve(out), secrets);
      const result = built.steps.find(({ step }) => step === layer.artifacts[0].step);
      if (result) report(result, paths, building, io);
    }
    if (!building.json && built.steps.every(({ cached }) => cached)) {
      io.stderr.write(`nothing to do (${((performance.now() - started) / 1000).toFixed(2)} s)\n`);
    }
    return 0;
  },
};

/** Without the application of this folder, if nobody names it and no layer has a part of it. */
function needed(settled: Settled, names: readonly string[]): Settled {
  const isImplied = settled.args.text('app') === undefined;
  return isImplied && names.every((name) => WITHOUT_APP.includes(name)) ? { ...settled, app: undefined } : settled;
}

/** The formats that the configuration names, which are built instead of the default layers. */
function manifestLayers(system: System, io: Io): Layer[] {
  printMessage(io, `building the formats of the configuration: ${system.wantedFormats.join(', ')}`);
  return system.wantedFormats.map((name) => formatLayer(system, name));
}

/**
 * Copies a layer's files to the folder, and adds the secrets to the file that takes them. @returns the paths of the
 * copies
 */
async function exportLayer(
  { artifacts, folder = '', seal }: Layer,
  built: BuildResult,
  out: string,
  secrets: TlsFiles | undefined,
): Promise<string[]> {
  const dir = join(out, folder);
  const paths: string[] = [];
  for (const artifact of artifacts) {
    const path = await exportFile(built.path(artifact), dir);
    if (seal && secrets) await seal.write(built.path(artifact), built.path(seal.program), secrets, path);
    paths.push(path);
  }
  return paths;
}

/** Reads the folder of `--tls`. @throws UsageError if no wanted layer takes secrets or `--out` is missing */
async function secretsOf(args: Parsed, layers: readonly Layer[]): Promise<TlsFiles | undefined> {
  const folder = args.text('tls');
  if (folder === undefined) return undefined;
  if (args.text('out') === undefined || !layers.some(({ seal }) => seal))
    throw new UsageError(`--tls ${folder}: only for initramfs-stream, and with --out`, {
      hint: `nodeos build kernel initramfs-stream root --app DIR --tls ${folder} --out DIR`,
    });
  return readTlsFiles(resolve(folder));
}

async function explain(steps: readonly Step[], { json }: Building, io: Io): Promise<number> {
  for (const { step, key, state, reasons } of await planOf(new Cache(), steps)) {
    const entry = { step: step.name, target: step.target.name, key, state, reasons };
    const status = state === 'cached' ? 'in the cache' : `to be built\n${reasons.map((r) => `  - ${r}`).join('\n')}`;
    io.stdout.write((json ? JSON.stringify(entry) : `${step.name}: ${status}`) + '\n');
  }
  return 0;
}

function report({ step, key, cached, output }: Built, files: readonly string[], { json }: Building, io: Io): void {
  const result = { event: 'result', step: step.name, key, cached, output, files };
  const text = [`${step.name}: ${output}`, ...files.map((path) => `  ${path}`)].join('\n');
  io.stdout.write((json ? JSON.stringify(result) : text) + '\n');
}
