/**
 * Options of the target's Node.js, copied from its own table (`getCLIOptionsInfo` of `internalBinding('options')`).
 * test/boot/apps.test.ts compares this list with the target's table and prints the new list if they differ.
 * https://nodejs.org/api/cli.html
 */

/** Options whose value may be the next word. */
const NEWEST: readonly string[] = [
  ...['--allow-fs-read', '--allow-fs-write', '--bench-isolation', '--bench-name-pattern', '--bench-reporter'],
  ...['--bench-reporter-destination', '--bench-samples', '--bench-warmup', '--build-sea', '--build-snapshot-config'],
  ...['--conditions', '--config-file', '--cpu-prof-dir', '--cpu-prof-interval', '--cpu-prof-name', '--debug-port'],
  ...['--diagnostic-dir', '--disable-proto', '--disable-warning', '--dns-result-order', '--env-file'],
  ...['--env-file-if-exists', '--eval', '--experimental-config-file', '--experimental-default-config-file'],
  ...['--experimental-loader', '--experimental-package-map', '--experimental-sea-config'],
  ...['--experimental-test-isolation', '--experimental-test-tag-filter', '--heap-prof-dir', '--heap-prof-interval'],
  ...['--heap-prof-name', '--heapsnapshot-near-heap-limit', '--heapsnapshot-signal', '--icu-data-dir', '--import'],
  ...['--input-type', '--inspect-port', '--inspect-publish-uid', '--loader', '--localstorage-file'],
  ...['--max-http-header-size', '--max-old-space-size-percentage', '--network-family-autoselection-attempt-timeout'],
  ...['--openssl-config', '--process-timeout', '--redirect-warnings', '--report-dir', '--report-directory'],
  ...['--report-filename', '--report-signal', '--require', '--run', '--secure-heap', '--secure-heap-min'],
  ...['--security-revert', '--security-reverts', '--snapshot-blob', '--stack-trace-limit', '--test-concurrency'],
  ...['--test-coverage-branches', '--test-coverage-exclude', '--test-coverage-functions', '--test-coverage-include'],
  ...['--test-coverage-lines', '--test-global-setup', '--test-isolation', '--test-name-pattern', '--test-random-seed'],
  ...['--test-reporter', '--test-reporter-destination', '--test-rerun-failures', '--test-shard', '--test-skip-pattern'],
  ...['--test-timeout', '--title', '--tls-cipher-list', '--tls-keylog', '--trace-event-categories'],
  ...['--trace-event-file-pattern', '--trace-require-module', '--unhandled-rejections', '--use-largepages'],
  ...['--v8-pool-size', '--vfs-load', '--watch-kill-signal', '--watch-path', '-C', '-e', '-r'],
];
/** Options that exist only in older versions, which `--node` can select. No option has another meaning there. */
const OLDER = ['--experimental-default-type', '--experimental-policy', '--policy-integrity', '--vfs-mount'];
const WITH_VALUE: ReadonlySet<string> = new Set([...NEWEST, ...OLDER]);

/** Options with which Node.js runs no file. */
const WITHOUT_FILE: Readonly<Record<string, string>> = {
  '--eval': 'runs code',
  '-e': 'runs code',
  '--print': 'runs code',
  '-p': 'runs code',
  '-pe': 'runs code',
  '--interactive': 'starts a REPL',
  '-i': 'starts a REPL',
  '--check': 'runs nothing',
  '-c': 'runs nothing',
  '--version': 'runs nothing',
  '-v': 'runs nothing',
  '--help': 'runs nothing',
  '-h': 'runs nothing',
  '--v8-options': 'runs nothing',
  '--completion-bash': 'runs nothing',
  '--test': 'runs tests',
  '--bench': 'runs benchmarks',
  '--prof-process': 'reads a profile',
  '--build-snapshot': 'makes a snapshot',
  '--build-sea': 'makes a program',
  '--experimental-sea-config': 'makes a program',
};

/** Options that read a file. The file must be in the image. */
const READS_FILE: ReadonlySet<string> = new Set([
  ...['--env-file', '--require', '-r', '--import', '--loader', '--experimental-loader'],
  ...['--config-file', '--experimental-config-file', '--experimental-package-map', '--openssl-config'],
  '--snapshot-blob',
]);
/** The file of this option may be missing. */
const READS_FILE_IF_THERE = '--env-file-if-exists';
/** Options that load a module, by path or by package name. */
const LOADS_MODULE: ReadonlySet<string> = new Set(['--require', '-r', '--import', '--loader', '--experimental-loader']);

/** The name of an option. `_` is equivalent to `-`: `--unhandled_rejections`. */
const nameOf = (word: string): string => {
  const [name = ''] = word.split('=', 1);
  return name.startsWith('--') ? `--${name.slice(2).replaceAll('_', '-')}` : name;
};

export const isOption = (word: string): boolean => word.startsWith('-') && word !== '-';
export const takesNextWord = (word: string): boolean => !word.includes('=') && WITH_VALUE.has(nameOf(word));
/** @returns what Node.js does instead of running a file */
export const insteadOfFile = (word: string): string | undefined => WITHOUT_FILE[nameOf(word)];

export interface FileOption {
  readonly option: string;
  readonly path: string;
  readonly needed: boolean;
}

/** The application's files that options read: `['--env-file=.env', '-r', './a.js', '-r', 'dotenv/config']` has two. */
export function filesOf(nodeArgs: readonly string[]): FileOption[] {
  const found: FileOption[] = [];
  for (const [at, word] of nodeArgs.entries()) {
    const option = nameOf(word);
    if (!READS_FILE.has(option) && option !== READS_FILE_IF_THERE) continue;
    const path = word.includes('=') ? word.slice(word.indexOf('=') + 1) : (nodeArgs[at + 1] ?? '');
    if (path.startsWith('/') || (LOADS_MODULE.has(option) && !/^\.\.?(\/|$)/.test(path))) continue;
    found.push({ option, path, needed: option !== READS_FILE_IF_THERE });
  }
  return found;
}

/** For the test that compares the list with the target. */
export const optionsWithValue = (): readonly string[] => NEWEST;
