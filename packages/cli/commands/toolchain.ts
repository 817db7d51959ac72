/** nodeos toolchain: the cross-toolchain. Other layers use it, and users can compile for the target with it. */
import { join } from 'node:path';
import { UsageError } from '@nodeos/base';
import { DEFAULT_TARGET, targetOf, type Target } from '@nodeos/targets';
import { printable, runAttached } from '@nodeos/engine';
import { environmentOf, toolchainSteps } from '@nodeos/toolchain';
import { LINUX } from '@nodeos/kernel';
import { buildingOf, buildSteps, BUILD_OPTIONS } from '../building.js';
import type { Command, Io, Parsed, Unlisted } from '../command.js';

export const toolchainCommand: Unlisted<Command> = {
  operands: 'build|path|env|run [-- COMMAND…]',
  options: {
    target: BUILD_OPTIONS.target,
    jobs: BUILD_OPTIONS.jobs,
    json: BUILD_OPTIONS.json,
    remote: BUILD_OPTIONS.remote,
    trust: BUILD_OPTIONS.trust,
    'no-remote': BUILD_OPTIONS['no-remote'],
  },
  examples: [
    ['nodeos toolchain build', 'GCC, binutils and musl, from their sources: some 11 minutes'],
    ['eval "$(nodeos toolchain env)"', 'CC, CXX, AR, PKG_CONFIG_*, CMAKE_TOOLCHAIN_FILE … for this shell'],
    ['nodeos toolchain run -- make', 'one command with them'],
    ['nodeos toolchain run -- ./configure --host=x86_64-linux-musl', 'a package of the GNU kind'],
    ['ls "$(nodeos toolchain path)/bin"', 'its programs; the folder may be moved'],
  ],
  async run(args, io) {
    const [verb, ...more] = args.operands;
    const action = verb !== undefined && Object.hasOwn(ACTIONS, verb) ? ACTIONS[verb] : undefined;
    if (!action || more.length > 0) {
      throw new UsageError(`nodeos toolchain: unknown action "${args.operands.join(' ')}"`, {
        hint: `${Object.keys(ACTIONS).join(', ')}; see nodeos toolchain --help`,
      });
    }
    if (verb === 'run' && args.passthrough.length === 0) {
      throw new UsageError('nodeos toolchain run: no command', { hint: 'nodeos toolchain run -- make' });
    }
    const target = targetOf(args.text('target') ?? DEFAULT_TARGET);
    const { toolchain } = toolchainSteps(target, LINUX);
    const built = await buildSteps([toolchain], buildingOf({ args }), io);
    return action({ target, path: built.outputOf(toolchain) }, args, io);
  },
};

interface Toolchain {
  readonly target: Target;
  readonly path: string;
}

const ACTIONS: Readonly<Record<string, (toolchain: Toolchain, args: Parsed, io: Io) => Promise<number> | number>> = {
  build: ({ path }, _args, io) => printLine(io, path),
  path: ({ path }, _args, io) => printLine(io, path),
  env({ target, path }, _args, io) {
    const variables = Object.entries(shellEnvironment(target, path));
    return printLine(io, variables.map(([name, value]) => `export ${name}=${printable(value, [])}`).join('\n'));
  },
  run({ target, path }, args) {
    const [command = '', ...rest] = args.passthrough;
    return runAttached(command, rest, shellEnvironment(target, path));
  },
};

const shellEnvironment = (target: Target, path: string): Record<string, string> => ({
  PATH: `${join(path, 'bin')}:${process.env['PATH'] ?? '/usr/bin:/bin'}`,
  ...environmentOf(target, path),
});

function printLine(io: Io, text: string): number {
  io.stdout.write(`${text}\n`);
  return 0;
}
