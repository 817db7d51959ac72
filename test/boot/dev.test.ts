/** nodeos dev: a change of a file is answered by the running machine. */
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { application, freePort, LONG, nodeos, ROOT, start, type Running } from '../support.js';
import { openTerminal } from '../terminal.js';

const server = (text: string): string =>
  `const { createServer } = require('node:http');
   const { uptime } = require('node:os');
   createServer((_, response) => response.end(\`${text} \${uptime()} \${process.env.COLOUR}\`)).listen(80);
   process.on('SIGTERM', () => process.exit());\n`;

let dir = '';
let port = 0;
let inspector = 0;
let dev: Running;

async function answer(wanted: RegExp): Promise<{ text: string; uptime: number }> {
  for (let tries = 0; tries < 900; tries++) {
    const text = await fetch(`http://127.0.0.1:${port}`).then(
      (response) => response.text(),
      () => '',
    );
    if (wanted.test(text)) return { text, uptime: Number(text.split(' ')[1]) };
    await sleep(100);
  }
  throw new Error(`no answer like ${String(wanted)}:\n${dev.output.stdout}\n${dev.output.stderr}`);
}

describe('nodeos dev', () => {
  it('answers with what is in the files now, without a new boot', async () => {
    dir = await application({ 'server.js': server('one') }, { main: 'server.js' });
    const refused = await nodeos('dev', dir);
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining(`chmod o+rx ${dir}`)]);
    await chmod(dir, 0o755);
    [port, inspector] = [await freePort(), await freePort()];
    const args = ['--publish', `${port}:80`, '--env', 'COLOUR=red', '--inspect-port', String(inspector)];
    dev = start(['dev', dir, ...args]);
    const first = await answer(/^one .* red$/);
    await writeFile(join(dir, 'server.js'), server('two'));
    const second = await answer(/^two .* red$/);
    expect(second.uptime).toBeGreaterThan(first.uptime);
    await dev.waitForOutput(/server\.js changed: answers again after [\d.]+ s/);

    // The inspector is the new process's.
    const targets = (await (await fetch(`http://127.0.0.1:${inspector}/json/list`)).json()) as { url: string }[];
    expect(targets).toHaveLength(1);
    expect(dev.output.stderr + dev.output.stdout).not.toContain('SecurityWarning');

    // A mistake is shown, and the next change mends it.
    await writeFile(join(dir, 'server.js'), 'this is not JavaScript');
    await dev.waitForOutput(/SyntaxError[^]*the application has ended with status 1/);
    await writeFile(join(dir, 'helper.js'), 'module.exports = "three";');
    await writeFile(join(dir, 'server.js'), server("${require('./helper.js')}"));
    const third = await answer(/^three /);
    expect(third.uptime).toBeGreaterThan(second.uptime);

    // What is in the image needs a new machine.
    const manifest = await readFile(join(dir, 'package.json'), 'utf8');
    await writeFile(join(dir, 'package.json'), manifest.replace('"main"', '"version":"2.0.0","main"'));
    await dev.waitForOutput(/package\.json changed: the machine starts anew/);
    for (;;) if ((await answer(/^three /)).uptime < third.uptime) break;

    dev.child.kill('SIGINT');
    expect((await dev.ended).status).toBe(130);
  });

  it('in a terminal, Ctrl-C ends it by the signal, and not by the end of its patience', { timeout: LONG }, async () => {
    const app = await application({ 'server.js': server('here') }, { main: 'server.js' });
    await chmod(app, 0o755);
    const own = await freePort();
    const terminal = await openTerminal(100, 30);
    const nodeosHere = `node ${join(ROOT, 'packages/cli/bin/nodeos.js')}`;
    await terminal.type(`clear; ${nodeosHere} dev ${app} --publish ${own}:80 --events; echo status $?`);
    await terminal.waitForScreen(/"event":"app"/);
    await expect
      .poll(
        () =>
          fetch(`http://127.0.0.1:${own}`).then(
            ({ ok }) => ok,
            () => false,
          ),
        { timeout: 60_000 },
      )
      .toBe(true);
    await terminal.press('C-c');
    expect(await terminal.waitForScreen(/status 130/)).toContain('"signal":15');
    expect(await terminal.hasCursor()).toBe(true);
  });
});
