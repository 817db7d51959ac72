/** The commands that pages and help texts show, and what a test does with each. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { allCommands, type Command } from 'nodeos';
import { ROOT } from '../support.js';

/**
 * - `run`: it runs to its end, with status 0.
 * - `application`: the machine answers over HTTP, and Ctrl-C ends it.
 * - `explain`: with `--explain`, so that nothing long is built.
 * - `parsed`: its words are checked against the tables of the command line.
 */
export type How = 'run' | 'application' | 'explain' | 'parsed';

interface Rule {
  readonly pattern: RegExp;
  readonly how: How;
  /** Why it is not run. */
  readonly why?: string;
}

/** The first row that matches counts. */
const RULES: readonly Rule[] = [
  { pattern: /^nodeos flash$/, how: 'run' },
  { pattern: /^nodeos flash/, how: 'parsed', why: 'there is no drive: test/cli/flash.test.ts writes to loop devices' },
  { pattern: /^nodeos build$|^nodeos build --json$/, how: 'run' },
  { pattern: /^nodeos build .*(--lock|--explain)/, how: 'parsed', why: 'it goes without --explain, or has it already' },
  { pattern: /^nodeos build .*--tls/, how: 'parsed', why: 'there are no certificates: test/stream has some' },
  { pattern: /^nodeos build/, how: 'explain', why: 'test/boot/formats.test.ts builds and boots the formats' },
  { pattern: /^nodeos start.*--exec/, how: 'run' },
  { pattern: /^nodeos start.*(--libc glibc|--node )/, how: 'parsed', why: 'it builds another runtime' },
  { pattern: /^nodeos start.*--target aarch64/, how: 'parsed', why: 'it builds another toolchain: test/long' },
  { pattern: /^nodeos start( --append .*)?$/, how: 'parsed', why: 'a REPL: test/cli/terminal.test.ts' },
  { pattern: /^nodeos start (docker|oci)/, how: 'parsed', why: 'there is no registry: test/boot/containers.test.ts' },
  { pattern: /^nodeos start /, how: 'application' },
  { pattern: /^nodeos config/, how: 'run' },
  { pattern: /^nodeos oci/, how: 'parsed', why: 'there is no registry: test/cli/oci.test.ts has one' },
  {
    pattern: /^nodeos init/,
    how: 'parsed',
    why: 'a configuration would hold for all that follows: test/cli/usage.test.ts',
  },
  { pattern: /^nodeos dev/, how: 'parsed', why: 'test/boot/dev.test.ts changes files beside it' },
  { pattern: /^nodeos doctor$|^nodeos doctor --json$/, how: 'run' },
  { pattern: /^nodeos doctor/, how: 'parsed', why: 'what it finds depends on the host' },
  { pattern: /^nodeos completion fish >/, how: 'parsed', why: 'it writes to the home folder' },
  { pattern: /nodeos completion/, how: 'run' },
  { pattern: /^nodeos toolchain (build|path)$|nodeos toolchain (path|env)\)|run -- sh/, how: 'run' },
  { pattern: /^nodeos toolchain/, how: 'parsed', why: 'there is nothing to make: test/toolchain compiles projects' },
  {
    pattern: /^nodeos cache (ls|key|prune --dry-run)|^nodeos cache push \.\/|cache pull kernel --remote \.\//,
    how: 'run',
  },
  { pattern: /^nodeos image info out/, how: 'parsed', why: 'test/cli/image.test.ts has images' },
  { pattern: /^nodeos (cache|clean)/, how: 'parsed', why: 'it would change the cache of whoever runs the tests' },
  {
    pattern: /^((date|printf .*) \| |EDITOR=.* )?nodeos (image|nbd)/,
    how: 'parsed',
    why: 'packages/cli/test, test/stream/attach.test.ts and test/cli/image.test.ts run all actions',
  },
  {
    pattern: /^nodeos store/,
    how: 'parsed',
    why: 'store.test.ts and mount.test.ts of packages/cli/test run all actions',
  },
  { pattern: /cache key release\.pem\) nodeos start/, how: 'parsed', why: 'it is a REPL' },
];

export interface Documented {
  /** The page, or `help`. */
  readonly page: string;
  /** As it is called in a shell: `npm start --` and `npx nodeos` are `nodeos`. */
  readonly line: string;
  readonly how: How;
  readonly why?: string;
}

/** Lines of other programs, which the pages need beside ours. */
const OTHERS = /^(npm|curl|mkdir|kill|wait|node scripts)\b/;
export const isOther = (line: string): boolean => OTHERS.test(line);

/** `npm start` and `npm run build` are `node bin/nodeos start` and `build` in package.json. */
const plain = (line: string): string =>
  line
    .replace(/^npm start( -- | *$)/, 'nodeos start ')
    .replace(/^npm run build( -- | *$)/, 'nodeos build ')
    .replaceAll('npx nodeos', 'nodeos')
    .replace(/ +# .*$/, '')
    .trim();

/** The lines of shell blocks, and of blocks that are indented. */
function linesOf(text: string): string[] {
  const fenced = [...text.matchAll(/^```(?:sh|bash)\n(.*?)^```$/gms)].flatMap(([, body = '']) => body.split('\n'));
  const outside = text.replace(/^```.*?^```$/gms, '');
  const indented = [...outside.matchAll(/^ {4}(\S.*)$/gm)].map(([, line = '']) => line);
  return [...fenced, ...indented].map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
}

const pagesIn = (folder: string): string[] =>
  readdirSync(join(ROOT, folder)).flatMap((name) => (name.endsWith('.md') ? [`${folder}/${name}`] : []));

export const PAGES = ['README.md', 'CONTRIBUTING.md', ...pagesIn('docs/guides')];
/** What they show is checked against the tables of the command line. What people type first is in PAGES, and is run. */
export const REFERENCE = [
  ...pagesIn('docs'),
  ...readdirSync(join(ROOT, 'packages'))
    .map((name) => `packages/${name}/README.md`)
    .filter((page) => existsSync(join(ROOT, page))),
];

const leaves: readonly Command[] = (await allCommands()).flatMap((command) =>
  'actions' in command ? command.actions : [command],
);

/** The command of a line, with its arguments. Longer names come first: `nbd serve`. */
export function commandOf(line: string): { command: Command; rest: string } | undefined {
  const [, words = ''] = /(?:^|[ (])nodeos (.*)$/.exec(line) ?? [];
  const command = leaves.find(
    ({ name }) => words === name || words.startsWith(`${name} `) || words.startsWith(`${name})`),
  );
  return command && { command, rest: words.slice(command.name.length).trim() };
}

function ruled(page: string, line: string): Documented {
  const rule = RULES.find(({ pattern }) => pattern.test(line));
  if (!rule) throw new Error(`${page}: test/cli/documented.ts has no rule for: ${line}`);
  return { page, line, how: rule.how, ...(rule.why === undefined ? {} : { why: rule.why }) };
}

/** The pages' lines of shell as they are written. */
export const pageLines = (page: string): string[] => linesOf(readFileSync(join(ROOT, page), 'utf8'));

/** The commands of the pages of reference. */
export const referenceLines = (): [string, string][] =>
  REFERENCE.flatMap((page) =>
    pageLines(page)
      .flatMap((line) => plain(line).split(/ (?:&&|\|) /))
      .filter((line) => /(^|[ (&])nodeos /.test(line) && !line.startsWith('npm '))
      .map((line): [string, string] => [page, line]),
  );

/** Every command of the pages and of the help texts, once. */
export function documented(): Documented[] {
  const shown = [
    ...PAGES.flatMap((page) => pageLines(page).map((line) => [page, plain(line)] as const)),
    ...leaves.flatMap(({ examples }) => examples.map(([line]) => ['help', plain(line)] as const)),
  ];
  const seen = new Set<string>();
  return shown
    .filter(([, line]) => commandOf(line) && !/& machine=/.test(line) && !seen.has(line) && seen.add(line))
    .map(([page, line]) => ruled(page, line));
}

/** The files that a guide shows: blocks with a path after the language. */
export function shownFiles(page: string): Record<string, string> {
  const text = readFileSync(join(ROOT, page), 'utf8');
  const blocks = [...text.matchAll(/^```\w+ \[([^\]]+)\]\n(.*?)^```$/gms)];
  return Object.fromEntries(blocks.map(([, path = '', body = '']) => [path, body]));
}
