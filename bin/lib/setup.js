// Prepares a fresh clone for the command line: npm packages, system packages, compiled TypeScript. A step that is done
// already takes a few milliseconds. This is plain JavaScript, because nothing is compiled yet.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const OLDEST_NODE = [20, 19];
const STAMPS = join(ROOT, 'node_modules/.nodeos');

/**
 * @param {'look' | 'run' | 'tests' | 'all'} [purpose] what the system packages are for; `look`: none are needed;
 * `all`: benchmarks and long tests too
 */
export function setUp(purpose = 'run') {
  checkNode();
  installPackages();
  if (purpose !== 'look') installSystemPackages(purpose);
  compile();
}

/** @param {string} purpose */
function installSystemPackages(purpose) {
  const options = ['--quiet', ...(purpose === 'run' ? [] : [`--${purpose}`])];
  const command = [join(ROOT, 'bin/install-dependencies'), ...options];
  const { status } = spawnSync(process.execPath, command, { cwd: ROOT, stdio: ['inherit', 2, 'inherit'] });
  // It has said what is missing and what to do.
  if (status !== 0) process.exit(status ?? 130);
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [oldMajor = 0, oldMinor = 0] = OLDEST_NODE;
  if (major > oldMajor || (major === oldMajor && minor >= oldMinor)) return;
  fail(`Node.js ${OLDEST_NODE.join('.')} or newer is needed; this is ${process.versions.node}`);
}

function installPackages() {
  const lock = createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex');
  if (existsSync(join(STAMPS, 'installed')) && readFileSync(join(STAMPS, 'installed'), 'utf8') === lock) return;
  process.stderr.write('installing the npm packages\n');
  // The output of npm goes to stderr, because stdout belongs to the command that follows.
  run('the npm packages', 'npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  stamp('installed', lock);
}

function compile() {
  const newest = String(Math.max(...sources(ROOT)));
  if (existsSync(join(STAMPS, 'compiled')) && readFileSync(join(STAMPS, 'compiled'), 'utf8') === newest) return;
  process.stderr.write('compiling\n');
  run('the TypeScript', process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-b', ROOT]);
  stamp('compiled', newest);
}

/**
 * The modification times of the files that the compiler reads, in milliseconds.
 * @param {string} dir
 * @returns {number[]}
 */
function sources(dir) {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory())
      return /^(node_modules|dist|out|\..*|examples|docs)$/.test(entry.name) ? [] : sources(path);
    return /\.ts$|^tsconfig.*\.json$/.test(entry.name) ? [statSync(path).mtimeMs] : [];
  });
}

/** @param {string} name @param {string} value */
function stamp(name, value) {
  mkdirSync(STAMPS, { recursive: true });
  writeFileSync(join(STAMPS, name), value);
}

/** Runs a program whose output goes to standard error. @param {string} label @param {string} command @param {string[]} args */
function run(label, command, args) {
  const result = spawnSync(command, args, { cwd: ROOT, stdio: ['inherit', 2, 'inherit'] });
  if (result.status === 0) return;
  if (result.signal !== null) process.exit(130);
  fail(`${label}: ${[command, ...args].join(' ')}: ${result.error?.message ?? `exit status ${String(result.status)}`}`);
}

/** @param {string} message @returns {never} */
function fail(message) {
  process.stderr.write(`nodeos: ${message}\n`);
  process.exit(1);
}
