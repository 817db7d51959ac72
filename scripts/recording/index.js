/**
 * Records what a newcomer sees: `npx nodeos start examples/hello` in one terminal, and `curl` in another. Writes an
 * animated SVG. It is a real run; build first, or the recording has the build in it.
 *
 *     node scripts/recording [FILE]     default: docs/images/start.svg
 */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { animated } from './svg.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const [file = join(ROOT, 'docs/images/start.svg')] = process.argv.slice(2);
const run = promisify(execFile);
const SERVER = ['-L', `nodeos-recording-${process.pid}`, '-f', '/dev/null'];
const PROMPT = '$ ';
const COLUMNS = 100;
const TERMINALS = [
  { name: 'above', rows: 11 },
  { name: 'below', rows: 3 },
];
const SAMPLE_MS = 50;
const KEY_MS = 45;
/** How long the last picture stays, in seconds. */
const HOLD = 4;

const tmux = async (...args) => (await run('tmux', [...SERVER, ...args], { cwd: ROOT })).stdout;

async function open({ name, rows }) {
  const shell = `env PS1='${PROMPT}' HISTFILE= bash --norc --noprofile -i`;
  await tmux('new-session', '-d', '-s', name, '-x', String(COLUMNS), '-y', String(rows), shell);
  await tmux('set-option', '-g', 'status', 'off');
  await tmux('resize-window', '-t', name, '-x', String(COLUMNS), '-y', String(rows));
}

const screenOf = async ({ name, rows }) => {
  const lines = (await tmux('capture-pane', '-p', '-t', name)).split('\n').slice(0, rows);
  return [...lines, ...Array(rows).fill('')].slice(0, rows).map((line) => line.trimEnd());
};

async function type(name, line) {
  for (const key of line) {
    await tmux('send-keys', '-t', name, '-l', key);
    await sleep(KEY_MS);
  }
  await tmux('send-keys', '-t', name, 'Enter');
}

async function waitFor(terminal, pattern, seconds = 120) {
  for (const deadline = Date.now() + seconds * 1000; ; await sleep(SAMPLE_MS)) {
    const text = (await screenOf(terminal)).join('\n');
    if (pattern.test(text)) return;
    if (Date.now() > deadline) throw new Error(`the terminal does not show ${pattern}:\n${text}`);
  }
}

/** Takes pictures until it is stopped. @returns pictures that differ, each with its time in seconds */
function record() {
  const frames = [];
  const started = performance.now();
  let isOver = false;
  const taken = (async () => {
    while (!isOver) {
      const screens = await Promise.all(TERMINALS.map(screenOf));
      const time = (performance.now() - started) / 1000;
      if (JSON.stringify(screens) !== JSON.stringify(frames.at(-1)?.screens)) frames.push({ time, screens });
      await sleep(SAMPLE_MS);
    }
  })();
  return async () => {
    isOver = true;
    await taken;
    return { frames, seconds: (performance.now() - started) / 1000 + HOLD };
  };
}

try {
  const [above, below] = TERMINALS;
  for (const terminal of TERMINALS) await open(terminal);
  for (const terminal of TERMINALS) await waitFor(terminal, /^\$/m);
  const stop = record();
  await sleep(1000);
  await type(above.name, 'npx nodeos start examples/hello');
  await waitFor(above, /listening on port/);
  await type(below.name, 'curl http://127.0.0.1:8080');
  await waitFor(below, /^Hello from/m);
  await sleep(1000);
  await tmux('send-keys', '-t', above.name, 'C-c');
  await waitFor(above, /\n\$\s*$/);
  const { frames, seconds } = await stop();
  await writeFile(file, animated(frames, { columns: COLUMNS, seconds }));
  console.log(`${file}: ${frames.length} pictures, ${seconds.toFixed(1)} s`);
} finally {
  await tmux('kill-server').catch(() => undefined);
}
