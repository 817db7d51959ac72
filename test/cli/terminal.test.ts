/** Every command as a person uses it: in a terminal, with keys, a pager, and another size. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { application, cacheWith, freePort, LONG, nodeos, ROOT, temporary } from '../support.js';
import { openTerminal } from '../terminal.js';

const NODEOS = `node ${join(ROOT, 'packages/cli/bin/nodeos.js')}`;
/** Prints messages until it is told to stop. */
const TALKING = { 'main.js': "setInterval(() => console.log('working', process.pid), 200)" };

/** The machines whose command line contains a word. Tests use the published port, which is unique. */
function machines(word: string): string[] {
  try {
    return execFileSync('pgrep', ['-f', `qemu-system.*${word}`], { encoding: 'utf8' })
      .trim()
      .split('\n');
  } catch {
    return [];
  }
}

/** The state of a process, if there is one. T means stopped, D that it waits for its disk. */
function stateOf(pid: string): string[] {
  try {
    return [/\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? ''];
  } catch {
    return []; // the process has ended
  }
}

/** The states of the processes whose working folder lies below a folder. */
function statesOf(folder: string): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const isBelow = (pid: string): boolean => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
    } catch {
      return false; // the process has ended
    }
  };
  return pids.filter(isBelow).flatMap((pid) => stateOf(pid).filter((state) => state !== 'Z'));
}

/** Waits until the condition holds, for a limited time. */
async function waitUntil(condition: () => boolean, seconds: number): Promise<void> {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline && !condition();) await sleep(200);
}

/** The states once all are T, or the last ones. A process that waits for its disk stops after that. */
async function stopped(states: () => string[]): Promise<Set<string>> {
  await waitUntil(() => states().every((state) => state === 'T'), 20);
  return new Set(states());
}

async function gone(word: string): Promise<string[]> {
  await waitUntil(() => machines(word).length === 0, 40);
  return machines(word);
}

describe('in a terminal, nodeos start', { timeout: LONG }, () => {
  it('shows a REPL, which follows the input, and restores the terminal', async () => {
    await nodeos('build');
    const terminal = await openTerminal();
    await terminal.type(`${NODEOS} start`);
    await terminal.waitForScreen(/^> $|^>$/m);
    await terminal.type("'a' + 'b'.repeat(3)");
    await terminal.waitForScreen(/^'abbb'$/m);
    await terminal.press('C-c'); // for the guest's REPL
    await terminal.waitForScreen(/\(To exit, press Ctrl\+C again/);
    await terminal.type('process.stdout.columns');
    await terminal.waitForScreen(/^80$/m);
    await terminal.type('.exit');
    await terminal.waitForPrompt();
    await terminal.type('stty -a | tr " " "\\n" | grep -c "^-echo;\\?$"; echo status $?');
    await terminal.waitForScreen(/^0\nstatus 1$/m);
    expect(await terminal.hasCursor()).toBe(true);
  });

  it('ends an application and its machine at Ctrl-C', async () => {
    const port = String(await freePort());
    const terminal = await openTerminal(100, 30);
    await terminal.type(`${NODEOS} start ${await application(TALKING)} --publish ${port}:80; echo status $?`);
    await terminal.waitForScreen(/working/);
    await terminal.press('C-c');
    await terminal.waitForScreen(/status 130/);
    expect(await gone(port)).toEqual([]);
  });

  it('stops with its machine at Ctrl-Z and continues after fg', async () => {
    const port = String(await freePort());
    const terminal = await openTerminal(100, 30);
    await terminal.type(`${NODEOS} start ${await application(TALKING)} --publish ${port}:80`);
    await terminal.waitForScreen(/working/);
    await terminal.press('C-z');
    await terminal.waitForScreen(/Stopped/);
    await terminal.type('clear');
    await sleep(1000);
    expect(await terminal.screen()).not.toContain('working');
    expect(await stopped(() => machines(port).flatMap(stateOf))).toEqual(new Set(['T']));
    await terminal.type('fg');
    await terminal.waitForScreen(/working/);
    await terminal.press('C-c');
    await terminal.waitForPrompt();
    expect(await gone(port)).toEqual([]);
  });

  it('ends even if its output goes to a pager that reads nothing', async () => {
    const port = String(await freePort());
    const flood = { 'main.js': "setInterval(() => console.log('x'.repeat(4000)), 1)" };
    const terminal = await openTerminal(100, 30);
    await terminal.type(`${NODEOS} start ${await application(flood)} --publish ${port}:80 | less`);
    await terminal.waitForScreen(/xxxx/);
    await sleep(3000); // until the pipe is full
    await terminal.press('C-c');
    expect(await gone(port)).toEqual([]);
    await terminal.press('q');
    await terminal.waitForPrompt();
  });

  it('ends when the npm that started it ends', async () => {
    const port = String(await freePort());
    const terminal = await openTerminal(100, 30);
    const app = await application(TALKING);
    await terminal.type(`npm start -- ${app} --publish ${port}:80 & wait`);
    await terminal.waitForScreen(/working/);
    const npm =
      execFileSync('pgrep', ['-f', `npm start.*${port}`], { encoding: 'utf8' })
        .trim()
        .split('\n')[0] ?? '';
    process.kill(Number(npm), 'SIGTERM');
    expect(await gone(port)).toEqual([]);
  });
});

describe('in a terminal', { timeout: LONG }, () => {
  it('a build stops with its tools at Ctrl-Z, shows the cursor, continues, follows a resize and ends at Ctrl-C', async () => {
    const root = await cacheWith();
    const terminal = await openTerminal(80, 24, { NODEOS_CACHE: root });
    const tools = (): string[] => statesOf(`${root}/tmp`);
    await terminal.type(`clear; ${NODEOS} toolchain build`);
    await terminal.waitForScreen(/toolchain-binutils\s+› .*checking/, 300);
    await terminal.press('C-z');
    await terminal.waitForScreen(/Stopped/);
    await terminal.waitForPrompt();
    expect(await terminal.hasCursor()).toBe(true);
    expect(await stopped(tools)).toEqual(new Set(['T']));
    await terminal.type('clear; fg');
    await terminal.resize(40, 12);
    await terminal.waitForScreen(/› /);
    const rows = (await terminal.screen()).trimEnd().split('\n');
    expect(rows.filter((row) => row.length > 40)).toEqual([]);
    await terminal.press('C-c');
    await terminal.waitForPrompt();
    expect(await terminal.hasCursor()).toBe(true);
    expect(tools()).toEqual([]);
  });

  it.each([
    ['build kernel', /^kernel: \//m],
    ['build --explain', /in the cache/],
    ['toolchain path', /toolchain\/x86_64/],
    ['cache ls', /outputs, [\d.]+ [KMG]iB/],
    ['nbd info memory:1M', /1048576|1 MiB|1\.0 MiB/],
    ['nbd map memory:1M', /\d/],
    ['nbd serve memory:1M -- true', /status 0/],
    ['--help', /nodeos COMMAND/],
    ['start --help', /nodeos start \[APP\|IMAGE\]/],
    ['config examples/typescript', /^hostname +"greeter" {2}\(nodeos\.config\.ts\)$/m],
    ['flash', /^\/dev\/|no drive/m],
    ['image --help', /nodeos image ls/],
  ])('nodeos %s answers, into a pager too', async (words, pattern) => {
    const terminal = await openTerminal(200, 120);
    await terminal.type(`clear; ${NODEOS} ${words} 2>&1; echo status $?`);
    expect(await terminal.waitForScreen(/^status \d+$/m)).toMatch(pattern);
    expect(await terminal.screen()).toMatch(/^status 0$/m);
    expect(await terminal.hasCursor()).toBe(true);
    await terminal.type(`clear; ${NODEOS} ${words} | less`);
    await terminal.waitForScreen(/:\s*$|\(END\)\s*$/);
    await terminal.press('q');
    await terminal.waitForPrompt();
  });

  it('a build goes on while the terminal takes nothing, after Ctrl-S', async () => {
    const root = await cacheWith();
    const terminal = await openTerminal(80, 24, { NODEOS_CACHE: root });
    const printed = (): number =>
      readdirSync(join(root, 'logs')).reduce((sum, name) => sum + statSync(join(root, 'logs', name)).size, 0);
    await terminal.type(`clear; ${NODEOS} toolchain build`);
    await terminal.waitForScreen(/toolchain-binutils\s+› .*checking/, 300);
    await terminal.press('C-s');
    await sleep(5000); // some drawings
    const before = printed();
    await waitUntil(() => printed() > before, 60);
    expect(printed()).toBeGreaterThan(before);
    const shown = await terminal.screen();
    await sleep(2000);
    expect(await terminal.screen()).toBe(shown);
    await terminal.press('C-c');
    await terminal.waitForPrompt();
    expect(await terminal.hasCursor()).toBe(true);
    expect(statesOf(`${root}/tmp`)).toEqual([]);
  });

  it('what prune leaves alone is said before the list, into a pager too', async () => {
    const root = await cacheWith();
    await mkdir(join(root, 'tmp/foreign'), { recursive: true });
    for (const key of Array.from({ length: 40 }, (_, index) => String(index).padStart(64, '0')))
      await mkdir(join(root, 'steps/step/x86_64', key), { recursive: true });
    const terminal = await openTerminal(200, 80, { NODEOS_CACHE: root });
    await terminal.type(`clear; ${NODEOS} cache prune --dry-run --keep 0 2>&1; echo status $?`);
    const screen = await terminal.waitForScreen(/^status 0$/m);
    expect(screen).toMatch(/left alone: .*foreign[^]*steps\/step\/x86_64[^]*would free/);
    await terminal.type(`clear; ${NODEOS} cache prune --dry-run --keep 0 | less`);
    await terminal.waitForScreen(/would free[^]*\(END\)\s*$/);
    await terminal.press('q');
    await terminal.waitForPrompt();
  });

  it('a command that ends after its pager has started leaves the terminal to the pager', async () => {
    const terminal = await openTerminal();
    await terminal.type(`clear; ${NODEOS} nbd serve memory:1M -- sleep 2 | (sleep 0.5; less)`);
    await terminal.waitForScreen(/\(END\)\s*$/);
    await sleep(4000); // until the command has ended
    await terminal.press('q');
    await terminal.waitForPrompt(10);
  });

  it('a server ends at Ctrl-C and stops at Ctrl-Z', async () => {
    const terminal = await openTerminal(100, 24);
    await terminal.type(`clear; ${NODEOS} nbd serve memory:1M --listen nbd://127.0.0.1:0`);
    await terminal.waitForScreen(/nbd:\/\/127\.0\.0\.1:[1-9]/); // the typed line has port 0
    await terminal.press('C-z');
    await terminal.waitForScreen(/Stopped/);
    await terminal.type('clear; fg; echo status $?');
    // The shell names the command before it gives it the terminal.
    await expect.poll(() => terminal.state('#{pane_current_command}'), { timeout: 60_000 }).toBe('node');
    await terminal.press('C-c');
    await terminal.waitForScreen(/status 130/);
  });

  it('a copy shows its progress and leaves nothing behind at Ctrl-C', async () => {
    const dir = await temporary();
    const terminal = await openTerminal(60, 24);
    const delay = 'nbdkit -U - --filter=delay pattern 1G delay-read=100ms --run';
    await terminal.type(
      `clear; ${delay} '${NODEOS} nbd copy "$uri" ${dir}/copy --requests 1'; echo status $?; ls ${dir}`,
    );
    await terminal.waitForScreen(/%|MiB/);
    await terminal.resize(40, 24);
    await terminal.press('C-c');
    const text = await terminal.waitForScreen(/status \d+/);
    await terminal.waitForPrompt();
    expect(text).not.toMatch(/copy\S*$/m);
  });
});
