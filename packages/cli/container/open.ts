/** Opens the image of a container that a machine is to start: its files as one disk, and the process in it. */
import { basename } from 'node:path';
import { platformOf } from '@nodeos/bootfs';
import { file } from '@nodeos/block';
import type { ContainerConfig } from '@nodeos/contract';
import { erofsOf } from '@nodeos/disk/container-image';
import { readErofs } from '@nodeos/fs';
import { ImageFiles, processOf, type Image, type ProcessOptions } from '@nodeos/oci';
import type { Target } from '@nodeos/targets';
import type { Publish } from '@nodeos/vm';
import { printMessage, type Io, type Parsed } from '../command.js';
import { metered, withImage } from '../oci/open.js';
import { isForTerminal, publishedPorts } from './defaults.js';

export interface Container {
  /** As the user names it. */
  readonly name: string;
  /** The path of an EROFS image with all its files. */
  readonly image: string;
  readonly process: ContainerConfig;
  /** The ports that it exposes. */
  readonly publish: readonly Publish[];
}

/**
 * Fetches an image, unless it is in the cache, and settles what it starts.
 * @param env variables of the command line
 * @throws NodeosError if it cannot be fetched, is for another architecture, or cannot start what it says
 */
export function openContainer(
  name: string,
  target: Target,
  args: Parsed,
  env: Readonly<Record<string, string>>,
  io: Io,
): Promise<Container> {
  const open = async (image: Image): Promise<Container> => {
    const path = await provideFiles(image, args, io);
    const options = optionsOf(args, env);
    const terminal = args.flag('tty') || isForTerminal(image.config.config, options);
    const withTerm = { ...options, env: { ...(terminal ? { TERM: 'xterm' } : {}), ...env } };
    return {
      name,
      image: path,
      process: { name: hostNameOf(name), ...(await settle(image, path, withTerm)), terminal },
      publish: args.flag('no-network') ? [] : publishedPorts(image.config.config, name),
    };
  };
  return withImage(name, args, io, open, platformOf(target));
}

/** The path of an EROFS image in the cache. */
const provideFiles = (image: Image, args: Parsed, io: Io): Promise<string> =>
  erofsOf(image, () => {
    printMessage(io, `${image.name}: fetching ${image.digest}`);
    return metered('fetched', image.size, args, io, (progress) => image.tree(progress));
  });

function optionsOf(args: Parsed, env: Readonly<Record<string, string>>): ProcessOptions {
  const [entrypoint, user, cwd] = [args.text('entrypoint'), args.text('user'), args.text('workdir')];
  return {
    env,
    ...(entrypoint === undefined ? {} : { entrypoint }),
    ...(args.passthrough.length === 0 ? {} : { command: args.passthrough }),
    ...(user === undefined ? {} : { user }),
    ...(cwd === undefined ? {} : { cwd }),
  };
}

async function settle(
  { config, name }: Image,
  path: string,
  options: ProcessOptions,
): Promise<Omit<ContainerConfig, 'name' | 'terminal'>> {
  const device = await file(path, { readOnly: true });
  try {
    const reader = await readErofs(device);
    return await processOf(config, new ImageFiles((file) => reader.find(file)), name, options);
  } finally {
    await device.close();
  }
}

/** `debian` of `docker://127.0.0.1:5000/team/debian:12`. */
const hostNameOf = (name: string): string =>
  basename(name.replace(/^[a-z-]+:/, '').replace(/@.*$/, '')).replace(/(?::.*|\.tar(?:\.\w+)?)$/, '');
