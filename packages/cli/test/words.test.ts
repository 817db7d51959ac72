/** Text from servers and traces is shown but never obeyed by the terminal. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memory } from '@nodeos/block';
import { NbdServer } from '@nodeos/nbd';
import { expect, it, onTestFinished } from 'vitest';
import { printMessage } from '../command.js';
import { main } from '../main.js';

/** Clears the screen, changes the title and makes the terminal type, with 7-bit and 8-bit controls. Reverses text. */
const EVIL = '\x1b[2J\x9b2J\x1b]0;title\x07\x1b[21t\u202egpj\x7f';
const SHOWN = '\\x1b[2J\\x9b2J\\x1b]0;title\\x07\\x1b[21t\\u202egpj\\x7f';

// eslint-disable-next-line no-control-regex
const CONTROLS = /[\0-\x08\x0b-\x1f\x7f-\x9f\u202e]/;

async function nodeos(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const output = { stdout: '', stderr: '' };
  const into = (name: keyof typeof output): NodeJS.WritableStream =>
    ({ write: (text: string) => (output[name] += text) }) as unknown as NodeJS.WritableStream;
  const [signal, kill] = [new AbortController().signal, new AbortController().signal];
  const io = { stdout: into('stdout'), stderr: into('stderr'), stdin: {}, env: {}, signal, kill };
  return { status: await main(args, io), ...output };
}

async function server(): Promise<string> {
  const one = { description: `a disk ${EVIL}`, open: () => memory(4096) };
  const served = new NbdServer({ exports: { [`disk ${EVIL}`]: one } });
  onTestFinished(() => served.close(0));
  return served.listen({ port: 0 });
}

it.each([
  ['list', ''],
  ['info', `/${encodeURIComponent(`disk ${EVIL}`)}`],
])('escapes text of a server in nbd %s', async (action, path) => {
  const uri = await server();
  const text = await nodeos('nbd', action, uri + path);
  expect(text.status, text.stderr).toBe(0);
  expect(text.stdout).toContain(`a disk ${SHOWN}`);
  expect(text.stdout).not.toMatch(CONTROLS);
  const json = await nodeos('nbd', action, '--json', uri + path);
  expect(json.stdout).not.toMatch(CONTROLS);
  const { exports } = JSON.parse(json.stdout) as { exports: { 'export-name': string; description: string }[] };
  expect(exports[0]).toMatchObject({ 'export-name': `disk ${EVIL}`, description: `a disk ${EVIL}` });
});

it('escapes text of a server that refuses', async () => {
  const { status, stderr } = await nodeos('nbd', 'info', `${await server()}/${encodeURIComponent('\u202egpj')}`);
  expect(status).toBe(1);
  expect(stderr).toContain('there is no export "\\u202egpj"');
  expect(stderr).not.toMatch(CONTROLS);
});

it('escapes text of a trace', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-cli-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'trace');
  const line = (name: string): string => JSON.stringify({ export: name, size: 4096 });
  await writeFile(path, `${line(EVIL)}\n${line('other')}\n`);
  const { status, stderr } = await nodeos('nbd', 'plot', path);
  expect(status).toBe(2);
  expect(stderr).toContain(`--export ${SHOWN}|other`);
  expect(stderr).not.toMatch(CONTROLS);
});

it('escapes foreign text in a message of ours', () => {
  let said = '';
  printMessage(
    { stderr: { write: (text: string) => (said += text) } as unknown as NodeJS.WritableStream },
    `it says ${EVIL}\nx`,
  );
  expect(said).toBe(`nodeos: it says ${SHOWN}\\nx\n`);
});
