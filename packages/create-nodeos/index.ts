/** `npm create nodeos@latest FOLDER`: asks what is missing, and writes a new application. */
import { resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';
import { createApplication, isTemplate, TEMPLATES, type Template } from './create.js';

export { createApplication, TEMPLATES, type Template } from './create.js';

const HELP = `Usage: npm create nodeos@latest [FOLDER] -- [--template ${TEMPLATES.join('|')}]

Writes a new application: a web server, its test, and scripts that boot it as a system of its own.

  FOLDER            a new or empty folder (default: my-appliance)
  --template NAME   js (default), or ts: TypeScript, whose types Node.js strips by itself
  --help            print this

On a terminal it asks for what is not given.
`;

const DEFAULTS = { folder: 'my-appliance', template: 'js' } as const;

export interface Io {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

interface Wanted {
  readonly folder: string | undefined;
  readonly template: string | undefined;
  readonly help: boolean;
}

/** @returns the exit status: 0; 1 if it cannot be written; 2 for wrong usage */
export async function main(args: readonly string[], io: Io): Promise<number> {
  let wanted: Wanted;
  try {
    wanted = wantedOf(args);
  } catch (error) {
    return complain(io, 2, `${messageOf(error)}\nTry: npm create nodeos@latest -- --help`);
  }
  if (wanted.help) {
    io.stdout.write(HELP);
    return 0;
  }
  const { folder, template } = io.stdin.isTTY ? await ask(wanted, io) : { ...DEFAULTS, ...defined(wanted) };
  if (!isTemplate(template)) return complain(io, 2, `--template ${template}: there is ${TEMPLATES.join(' and ')}`);
  try {
    await createApplication(resolve(folder), template);
  } catch (error) {
    return complain(io, 1, messageOf(error));
  }
  io.stdout.write(nextSteps(folder, template));
  return 0;
}

function wantedOf(args: readonly string[]): Wanted {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { template: { type: 'string', short: 't' }, help: { type: 'boolean', short: 'h' } },
  });
  const [folder, ...more] = positionals;
  if (more.length > 0) throw new Error(`one folder, please, and not also ${more.join(' ')}`);
  return { folder, template: values.template, help: values.help === true };
}

const defined = ({ folder, template }: Wanted): { folder?: string; template?: string } => ({
  ...(folder === undefined ? {} : { folder }),
  ...(template === undefined ? {} : { template }),
});

async function ask(wanted: Wanted, { stdin, stdout }: Io): Promise<{ folder: string; template: string }> {
  const terminal = createInterface({ input: stdin, output: stdout });
  const answer = async (question: string, usual: string): Promise<string> =>
    (await terminal.question(`${question} (${usual}) `)).trim() || usual;
  try {
    const folder = wanted.folder ?? (await answer('Folder?', DEFAULTS.folder));
    const template = wanted.template ?? (await answer(`Template: ${TEMPLATES.join(' or ')}?`, DEFAULTS.template));
    return { folder, template };
  } finally {
    terminal.close();
  }
}

/** Older versions cannot run TypeScript here; in the machine, Node.js is newer. */
const stripsTypes = (): boolean => 'typescript' in process.features && process.features.typescript !== false;

const nextSteps = (folder: string, template: Template): string =>
  [
    `Made ${folder}. Next:`,
    '',
    `  cd ${folder}`,
    '  npm install',
    '  npm start         boots it: http://127.0.0.1:8080',
    '',
    ...(template === 'ts' && !stripsTypes()
      ? [`npm test needs Node.js 22.18 or newer here; this is ${process.versions.node}.`, '']
      : []),
  ].join('\n');

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function complain({ stderr }: Io, status: number, message: string): number {
  stderr.write(`create-nodeos: ${message}\n`);
  return status;
}
