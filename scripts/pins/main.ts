/** The command line of the pins. */
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { InterruptedError, NodeosError, UsageError } from '@nodeos/base';
import { Cache } from '@nodeos/engine';
import { check } from './check.js';
import { update } from './update.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const HELP = `Usage: npm run pins check|update [-- OPTIONS] [NAME…]

Says whether the pinned sources are the newest of their Debian suite or their line on npm, and moves them.
Each NAME is a pin, as check calls it; without one, all of them.

  check           how old each pin is, whether there is a newer version, and what that fixes; known holes of npm packages
    --record      note the date for each pin that is the newest; npm test warns when that is 60 days ago
  update          rewrites versions and checksums in the sources.ts files; each file is fetched and verified first
    --dry-run     fetch and verify, but rewrite nothing
  --json          JSON instead of text
  --help          print this

Examples:
  npm run pins check                     look at all pins
  npm run pins check -- --record         and note that those that are the newest are
  node scripts/pins update linux         move the kernel
  node scripts/pins update --dry-run     see what would be moved

Exit status: 0 all pins are the newest; 1 one is not or could not be looked at, or a package has a known hole;
2 wrong usage; 128 + the signal's number when interrupted.
`;
const OPTIONS = {
  record: { type: 'boolean' },
  'dry-run': { type: 'boolean', short: 'n' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** Which options go with which action, besides --json. */
const OWN = { check: ['record'], update: ['dry-run'] } as const;

interface Surroundings {
  /** The repository. */
  readonly root: string;
  readonly signal: AbortSignal;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

export async function main(args: string[], { root, signal, stdout, stderr }: Surroundings): Promise<number> {
  try {
    const { values, positionals } = parsed(args);
    const [action, ...names] = positionals;
    if (values.help || action === undefined) {
      stdout(HELP);
      return values.help ? 0 : 2;
    }
    if (action !== 'check' && action !== 'update') throw new UsageError(`unknown action "${action}"`);
    const foreign = [...OWN.check, ...OWN.update].find(
      (name) => values[name] && !OWN[action].some((own) => own === name),
    );
    if (foreign !== undefined) throw new UsageError(`--${foreign} is not for ${action}`);
    const context = { cache: new Cache(), signal, say: (text: string) => stderr(`pins: ${text}\n`) };
    const common = { root, names, json: values.json === true, now: new Date(), write: stdout };
    return await (action === 'check'
      ? check({ ...common, record: values.record === true }, context)
      : update({ ...common, dryRun: values['dry-run'] === true }, context));
  } catch (error) {
    return complain(signal.aborted ? signal.reason : error, stderr);
  }
}

function parsed(args: string[]): ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>> {
  try {
    return parseArgs({ args, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message.replace(/\. .*/s, ''));
  }
}

function complain(error: unknown, stderr: (text: string) => void): number {
  if (error instanceof InterruptedError) {
    stderr(`pins: ${error.message}\n`);
    return 128 + constants.signals[error.signal];
  }
  if (!(error instanceof NodeosError)) throw error;
  const hint = error instanceof UsageError ? 'see node scripts/pins --help' : error.hint;
  const lines = [
    ...error.lines.map((line) => `  ${line}`),
    `pins: ${error.message}`,
    ...(hint === undefined ? [] : [`  ${hint}`]),
  ];
  stderr(lines.join('\n') + '\n');
  return error instanceof UsageError ? 2 : 1;
}

/** Runs the command line of this process. */
export async function runProcess(): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => stop.abort(new InterruptedError(signal)));
  }
  // Who reads the output has gone, or its disk is full: there is nobody to tell, but it is no success.
  process.stdout.on('error', () => process.exit(1));
  process.exitCode = await main(process.argv.slice(2), {
    root: ROOT,
    signal: stop.signal,
    stdout: (text: string) => void process.stdout.write(text),
    stderr: (text: string) => void process.stderr.write(text),
  });
}
