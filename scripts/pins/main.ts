/** The command line of `npm run pins`. */
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { InterruptedError, NodeosError, UsageError } from '@nodeos/base';
import { Cache } from '@nodeos/engine';
import { check } from './check.js';
import { update } from './update.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const HELP = `Usage: npm run pins check|update [-- OPTIONS] [NAME…]

Checks whether the pinned sources are the newest of their Debian suite or their npm major version, and moves them.
Each NAME is a pin, as printed by check. The default is all pins.

  check           prints the age of each pin, a newer version and its fixes, and known vulnerabilities of npm packages
    --record      record today's date for each pin that is the newest; npm test warns if that is 60 days ago
  update          rewrites versions and checksums in the sources.ts files; each file is fetched and verified first
    --dry-run     fetch and verify, but rewrite nothing
  --json          JSON instead of text
  --help          print this

Examples:
  npm run pins check                     look at all pins
  npm run pins check -- --record         look, and record the pins that are the newest
  node scripts/pins update linux         move the kernel
  node scripts/pins update --dry-run     see what would be moved

Exit status: 0 all pins are the newest; 1 one is not or could not be checked, or a package has a known vulnerability;
2 wrong usage; 128 + the signal's number when interrupted.
`;
const OPTIONS = {
  record: { type: 'boolean' },
  'dry-run': { type: 'boolean', short: 'n' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** The options of each action, besides --json. */
const OPTIONS_OF = { check: ['record'], update: ['dry-run'] } as const;

interface Surroundings {
  /** The folder of the repository. */
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
    const foreign = [...OPTIONS_OF.check, ...OPTIONS_OF.update].find(
      (name) => values[name] && !OPTIONS_OF[action].some((own) => own === name),
    );
    if (foreign !== undefined) throw new UsageError(`--${foreign} is not for ${action}`);
    const context = { cache: new Cache(), signal, log: (text: string) => stderr(`pins: ${text}\n`) };
    const common = { root, names, json: values.json === true, now: new Date(), write: stdout };
    return await (action === 'check'
      ? check({ ...common, record: values.record === true }, context)
      : update({ ...common, dryRun: values['dry-run'] === true }, context));
  } catch (error) {
    return reportError(signal.aborted ? signal.reason : error, stderr);
  }
}

function parsed(args: string[]): ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>> {
  try {
    return parseArgs({ args, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message.replace(/\. .*/s, ''));
  }
}

function reportError(error: unknown, stderr: (text: string) => void): number {
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
  // The reader of stdout is gone, or its disk is full. Nobody can read a message, but this must not look like success.
  process.stdout.on('error', () => process.exit(1));
  process.exitCode = await main(process.argv.slice(2), {
    root: ROOT,
    signal: stop.signal,
    stdout: (text: string) => void process.stdout.write(text),
    stderr: (text: string) => void process.stderr.write(text),
  });
}
