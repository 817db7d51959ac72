/** nodeos cache push: stores outputs where other machines find them. */
import { readFile } from 'node:fs/promises';
import { formatSize, messageOf, NodeosError, UsageError, visibleJson } from '@nodeos/base';
import { Cache, push, signingKey, type PlannedStep, type PushOptions, type RemoteCache } from '@nodeos/engine';
import { printMessage, type Command, type Io, type Parsed } from '../command.js';
import { settle } from '../config/settle.js';
import { LAYER_OPTIONS, plannedLayers } from './layers.js';

const KEY_VARIABLE = 'NODEOS_CACHE_KEY';

export const pushCommand: Command = {
  name: 'cache push',
  summary: 'Stores built outputs, signed, in a remote cache, with all that they are made from.',
  operands: 'REMOTE [LAYER…]',
  options: {
    key: { type: 'string', value: 'FILE', help: `the private key that signs (default: the file of $${KEY_VARIABLE})` },
    only: { type: 'string', multiple: true, value: 'STEP', help: 'only this step; again for more' },
    again: { type: 'boolean', help: 'store also what is there already' },
    ...LAYER_OPTIONS,
  },
  examples: [
    ['nodeos cache push /srv/nodeos --key release.pem', 'what a start needs, and the toolchain, in a folder'],
    ['nodeos cache push oci://localhost:5000/nodeos kernel usr', 'two layers in a registry of container images'],
    ['nodeos cache push npm:@acme/built --only kernel --only usr', 'two steps as packages'],
  ],
  async run(args, io) {
    const [to, ...layers] = args.operands;
    if (to === undefined)
      throw new UsageError('nodeos cache push: to which remote cache?', { hint: pushCommand.operands });
    const { remoteCache } = await import('@nodeos/remote');
    const remote = remoteCache(to);
    const options = { key: await keyOf(args, io), signal: io.signal, again: args.flag('again') };
    const cache = new Cache();
    const items = chosen(await plannedLayers(cache, layers, await settle(args.text('app'), args, io), io), args);
    let bytes = 0;
    for (const item of items) bytes += await pushOne(cache, item, remote, options, args, io);
    if (!args.flag('json')) printMessage(io, `${formatSize(bytes)} stored in ${remote.name}`);
    return 0;
  },
};

async function keyOf(args: Parsed, { env }: Io): Promise<PushOptions['key']> {
  const file = args.text('key') ?? env[KEY_VARIABLE];
  if (file === undefined)
    throw new UsageError('nodeos cache push: no key to sign with', {
      hint: `--key FILE or ${KEY_VARIABLE}=FILE; nodeos cache key FILE makes one`,
    });
  const text = await readFile(file).catch((error: unknown) => {
    throw new NodeosError(`cannot read the key ${file}: ${messageOf(error)}`, { cause: error });
  });
  return signingKey(text);
}

/** The steps to store. @throws UsageError for a step that is none of them, or that is not built */
function chosen(plan: readonly PlannedStep[], args: Parsed): PlannedStep[] {
  const only = args.texts('only');
  const names = plan.map(({ step }) => step.name);
  const unknown = only.find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new UsageError(`--only ${unknown}: no step of this system`, { hint: `the steps are: ${names.join(', ')}` });
  const local = plan.find(({ step }) => step.isLocal === true && only.includes(step.name));
  if (local)
    throw new UsageError(`--only ${local.step.name}: it is not shared, but made where it is needed`, {
      hint: `what it is made from is shared: ${plan.flatMap(({ step }) => (step.isLocal ? [] : [step.name])).join(', ')}`,
    });
  const items = plan.filter(({ step }) => (only.length === 0 || only.includes(step.name)) && step.isLocal !== true);
  const built = items.filter(({ state }) => state === 'cached');
  if (built.length === 0 || (only.length > 0 && built.length < items.length))
    throw new NodeosError('what is to be stored is not built', { hint: 'nodeos build' });
  return built;
}

async function pushOne(
  cache: Cache,
  item: PlannedStep,
  remote: RemoteCache,
  options: PushOptions,
  args: Parsed,
  io: Io,
): Promise<number> {
  const { step, sharedKey } = item;
  const { bytes } = await push(cache, item, remote, options).catch((error: unknown) => {
    io.signal.throwIfAborted();
    throw new NodeosError(`cannot store ${step.name} in ${remote.name}: ${messageOf(error)}`, {
      cause: error,
      ...(error instanceof NodeosError && error.hint !== undefined ? { hint: error.hint } : {}),
      ...(error instanceof NodeosError ? { lines: error.lines } : {}),
    });
  });
  const result = { step: step.name, target: step.target.name, key: sharedKey, bytes };
  const text = bytes === 0 ? 'is there already' : formatSize(bytes);
  io.stdout.write(args.flag('json') ? visibleJson(result) + '\n' : `${step.name} (${step.target.name}): ${text}\n`);
  return bytes;
}
