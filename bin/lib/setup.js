// Prepares a fresh clone for the command line: npm packages, compiled TypeScript, and for tests system packages too. A
// step that is done already takes a few milliseconds. This is plain JavaScript, because nothing is compiled yet.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const OLDEST_NODE = [20, 19];
const STAMPS = join(ROOT, 'node_modules/.nodeos');

const INSTALLER = join(ROOT, 'bin/install-dependencies');
/** What it prints goes to standard error, because standard output belongs to the command that follows. */
const STDIO = /** @type {import('node:child_process').StdioOptions} */ (['inherit', 2, 'inherit']);

/**
 * @param {'tests' | 'all'} [purpose] what system packages are installed for; `all`: benchmarks and long tests too.
 * Default: none are; commands install what they need (`installNeeds`)
 */
export function setUp(purpose) {
  checkNode();
  installPackages();
  if (purpose) installSystemPackages(purpose);
  compile();
}

/**
 * Installs system packages.
 * @param {readonly string[]} needs names of rows of packages/cli/host/needs.js
 * @returns {Promise<boolean>} whether all are installed; if not, it has said why
 */
export function installNeeds(needs) {
  const command = [INSTALLER, ...needs.flatMap((need) => ['--need', need])];
  const child = spawn(process.execPath, command, { cwd: ROOT, stdio: STDIO });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve(status === 0));
  });
}

/** @param {string} purpose */
function installSystemPackages(purpose) {
  const command = [INSTALLER, '--quiet', `--${purpose}`];
  const { status } = spawnSync(process.execPath, command, { cwd: ROOT, stdio: STDIO });
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
  const result = spawnSync(command, args, { cwd: ROOT, stdio: STDIO });
  if (result.status === 0) return;
  if (result.signal !== null) process.exit(130);
  fail(`${label}: ${[command, ...args].join(' ')}: ${result.error?.message ?? `exit status ${String(result.status)}`}`);
}

/** @param {string} message @returns {never} */
function fail(message) {
  process.stderr.write(`nodeos: ${message}\n`);
  process.exit(1);
}
