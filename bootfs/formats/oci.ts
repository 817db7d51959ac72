/**
 * The root filesystem as a container image: a layer for each part, so that two applications share the layer of Node.js. It
 * starts the application itself: a container has no machine for PID 1 and the init to look after.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
import { join } from 'node:path';
import { APP_ID, checkSystemConfig, entryPath, PATHS, type SystemConfig } from '@nodeos/contract';
import { inputPath } from '@nodeos/engine';
import type { NewImage } from '@nodeos/oci';
import type { Target } from '@nodeos/targets';
import type { Entry } from '@nodeos/tree';
import type { Format } from './format.js';

const FILE = 'oci.tar';
/** Largest `/etc/nodeos.json`, in bytes. */
const MAX_SYSTEM = 1 << 20;

/** Architectures as Go names them, by target. */
const PLATFORMS: Readonly<Record<string, NewImage['platform']>> = {
  x86_64: { os: 'linux', architecture: 'amd64' },
  i686: { os: 'linux', architecture: '386' },
  aarch64: { os: 'linux', architecture: 'arm64' },
  armv7: { os: 'linux', architecture: 'arm', variant: 'v7' },
  riscv64: { os: 'linux', architecture: 'riscv64' },
};

export const platformOf = ({ name }: Target): NewImage['platform'] =>
  PLATFORMS[name] ?? { os: 'linux', architecture: name };

export const OCI: Format = {
  name: 'oci',
  summary: 'the root filesystem as a container image, in an archive',
  files: [FILE],
  build: ({ rootParts, loaders: { target } }) => ({
    name: 'oci',
    target,
    recipe: [import.meta.url, ...rootParts.map(({ recipe }) => recipe)],
    // Its compression is in the layers' digests.
    parameters: { zlib: process.versions.zlib },
    inputs: Object.fromEntries(rootParts.map((part) => [part.name, part.artifact.step])),
    async build(context) {
      const { makeImage } = await import('@nodeos/oci'); // most starts make no container image
      const layers = [];
      let system: SystemConfig | undefined;
      // Below what differs between applications: unpacked, a layer is shared only with the same layers below it.
      const sorted = [...rootParts].sort((a, b) => Number(b.large ?? false) - Number(a.large ?? false));
      for (const part of sorted) {
        const entries: Entry[] = [];
        for await (const entry of await part.tree(inputPath(context, part.name, part.artifact))) entries.push(entry);
        const own = entries.find(({ path }) => path === entryPath(PATHS.system));
        if (own) system = await systemIn(own);
        layers.push({ name: part.name, tree: entries });
      }
      const image = { platform: platformOf(target), config: executionOf(system), layers };
      await makeImage(image, join(context.dir, FILE), { work: context.work, signal: context.signal, name: 'latest' });
    },
  }),
};

async function systemIn(entry: Entry): Promise<SystemConfig> {
  if (entry.size > MAX_SYSTEM) throw new RangeError(`${entry.path} has ${entry.size} bytes`);
  let text = '';
  for await (const bytes of entry.open?.() ?? []) text += Buffer.from(bytes).toString();
  return checkSystemConfig(JSON.parse(text));
}

/** What a container is started with: the application, or Node.js alone. */
function executionOf(system: SystemConfig | undefined): NewImage['config'] {
  const path = 'PATH=/bin:/sbin';
  if (!system) return { Env: [path], Entrypoint: [PATHS.node] };
  const { main, args, nodeArgs, env, cwd, user } = system;
  const isRoot = user === 'root';
  return {
    Env: [path, `HOME=${isRoot ? '/' : PATHS.home}`, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)],
    Entrypoint: [PATHS.node, ...nodeArgs, main, ...args.map(plainArgument)],
    User: isRoot ? '0:0' : `${APP_ID}:${APP_ID}`,
    WorkingDir: cwd,
    Labels: { 'org.opencontainers.image.title': system.name },
  };
}

/** No shell expands an argument of a container, so a variable in it has the value that it has without any. */
const plainArgument = (argument: SystemConfig['args'][number]): string =>
  typeof argument === 'string'
    ? argument
    : argument.map((piece) => (typeof piece === 'string' ? piece : (piece.fallback ?? ''))).join('');
