/** What a machine boots from: built, and for a streamed root also served while the machine runs. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf, UsageError } from '@nodeos/base';
import { HANDSHAKE } from '@nodeos/init';
import { USR } from '@nodeos/runtime';
import { appendEntries, secretEntries, stepsOf, tlsEntries } from '@nodeos/initramfs';
import { imageAt, type RunMachineOptions } from '@nodeos/vm';
import { buildSteps } from './building.js';
import { say, type Io, type Parsed } from './command.js';
import { GUEST, serveRoot } from './streamed-root.js';
import type { Layers } from './system.js';

/** Where the guest finds Node.js. */
export const RUNTIMES = ['disk', 'initramfs', 'root'] as const;
export type RuntimePlace = (typeof RUNTIMES)[number];
/** Where the guest's root filesystem comes from, if not out of the initramfs: in the clear, or by TLS. */
export const ROOTS = ['nbd', 'nbds'] as const;

export interface Media extends Pick<RunMachineOptions, 'kernel' | 'initramfs' | 'usr'> {
  /** For the kernel's command line. */
  readonly words: readonly string[];
  close(): Promise<void>;
}

export interface MediaOptions {
  readonly runtime: RuntimePlace;
  readonly root: 'initramfs' | (typeof ROOTS)[number];
  readonly persist: string | undefined;
  readonly trace: string | undefined;
}

/** The options of the command line that say where the parts of a system come from. @throws UsageError */
export function mediaOf(args: Parsed): MediaOptions {
  const wanted = args.text('root') ?? 'initramfs';
  const root = (['initramfs', ...ROOTS] as const).find((name) => name === wanted);
  if (!root) throw new UsageError(`--root ${wanted}: expected ${ROOTS.join(' or ')}`);
  const remote = root !== 'initramfs';
  const runtime = RUNTIMES.find((name) => name === (args.text('runtime') ?? RUNTIMES[0]));
  const allowed = RUNTIMES.filter((name) => name !== (remote ? 'initramfs' : 'root'));
  if (!runtime || !allowed.includes(runtime))
    throw new UsageError(
      `--runtime ${args.text('runtime')}: expected ${allowed.join(' or ')}${remote ? ` with --root ${root}` : ''}`,
    );
  const [persist, trace] = [args.text('persist'), args.text('trace')];
  const alone = persist === undefined ? trace && '--trace' : '--persist';
  if (!remote && alone) throw new UsageError(`${alone}: only with --root ${ROOTS.join(' or ')}`);
  if (remote && args.flag('restrict'))
    throw new UsageError(`--restrict: not with --root ${root}, which the guest has from a server on this host`, {
      hint: 'leave --root out: then the system is in the memory of the guest',
    });
  if (remote && args.flag('no-network')) throw new UsageError(`--root ${root}: there is no root without a network`);
  return { root, runtime, persist, trace };
}

export function mediaFor(layers: Layers, options: MediaOptions, args: Parsed, io: Io): Promise<Media> {
  return options.root === 'initramfs' ? unpacked(layers, options, args, io) : streamed(layers, options, args, io);
}

/** Everything but Node.js comes in the initramfs. */
async function unpacked(layers: Layers, { runtime }: MediaOptions, args: Parsed, io: Io): Promise<Media> {
  const base = runtime === 'disk' ? layers['initramfs-base'] : layers.initramfs;
  const steps = [layers.kernel, base, ...(runtime === 'disk' ? [layers.usr] : [])].map(({ step }) => step);
  const [kernel = '', initramfs = '', usr] = (await buildSteps(steps, args, io)).map(({ output }) => output);
  return {
    kernel: join(kernel, 'vmlinux'),
    initramfs: join(initramfs, base.step.name),
    usr: usr === undefined ? undefined : await imageAt(join(usr, USR)),
    words: [],
    close: () => Promise.resolve(),
  };
}

/** The initramfs only reaches the root, which this process serves. */
async function streamed(layers: Layers, options: MediaOptions, args: Parsed, io: Io): Promise<Media> {
  const { runtime, persist, trace } = options;
  const layer = layers['initramfs-stream'];
  const { runtime: node, ...others } = layer.root;
  const parts = runtime === 'root' ? layer.root : others;
  const third = runtime === 'root' ? node : layers.usr.step;
  const program = options.root === 'nbds' ? [layers['tls-handshake'].step] : [];
  const built = await buildSteps([layers.kernel.step, layer.step, third, ...stepsOf(others), ...program], args, io);
  const [kernel = '', initramfs = '', usr = ''] = built.map(({ output }) => output);
  const image = runtime === 'root' ? undefined : await imageAt(join(usr, USR));
  const handshake = program.length > 0 ? join(built.at(-1)?.output ?? '', HANDSHAKE) : undefined;
  const admitted = await admit(join(initramfs, layer.step.name), handshake);
  try {
    const served = await serveRoot({
      parts,
      built,
      persist,
      trace,
      secret: admitted.secret,
      key: admitted.key,
      onEvent: ({ event, error }) => {
        if (error !== undefined) say(io, `root over NBD: ${event}: ${messageOf(error)}`);
      },
    });
    return {
      kernel: join(kernel, 'vmlinux'),
      initramfs: admitted.initramfs,
      usr: image,
      words: served.words,
      close: () => served.close().finally(admitted.remove),
    };
  } catch (error) {
    await admitted.remove();
    throw error;
  }
}

/** What lets one machine in, for one run, and nobody else. */
interface Admission {
  readonly secret: string;
  readonly key: Uint8Array | undefined;
  /** Where the machine has it from. */
  readonly initramfs: string;
  readonly remove: () => Promise<void>;
}

/** @param handshake what begins TLS; undefined: everything is sent in the clear */
async function admit(initramfs: string, handshake: string | undefined): Promise<Admission> {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-key-'));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const secret = randomBytes(16).toString('hex');
    const key = handshake === undefined ? undefined : randomBytes(32);
    const keys = key && Buffer.from(`${GUEST}:${key.toString('hex')}\n`);
    const tls = handshake === undefined || !keys ? [] : await tlsEntries(handshake, { 'keys.psk': keys });
    const path = join(folder, 'initramfs');
    await appendEntries(initramfs, [...secretEntries(secret), ...tls], path);
    return { secret, key, initramfs: path, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
