import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { request, freePort, LONG, ROOT, start, temporary } from '../support.js';

async function boot(name: string): Promise<string> {
  const port = await freePort();
  await start(['start', join(ROOT, 'examples', name), '--publish', `${port}:80`]).waitForOutput(/the guest's port 80/); // built by then
  return `http://127.0.0.1:${port}`;
}

describe('an example answers over HTTP', { timeout: LONG }, () => {
  it('hello', async () => {
    const response = await request(await boot('hello'));
    expect(await response.text()).toMatch(
      /^Hello from hello: Node\.js v26\.\d+\.\d+ on Linux 6\.12\.\d+-nodeos, up [\d.]+ s\n$/,
    );
  });

  it('fastify', async () => {
    const url = await boot('fastify');
    expect(await (await request(`${url}/?name=there`)).json()).toEqual({ hello: 'there', node: 'v26.12.1' });
    expect((await request(`${url}/?name=${'x'.repeat(101)}`)).status).toBe(400);
    expect((await request(`${url}/nowhere`)).status).toBe(404);
  });

  it('typescript, compiled before it is packed, with its configuration', async () => {
    const url = await boot('typescript');
    expect(await (await request(url)).json()).toEqual({ greeting: 'Hello', hostname: 'greeter', file: 'from a file' });
  });

  it('notes, which are there again in another machine with the same disk', async () => {
    const disk = join(await temporary(), 'notes.img');
    for (const notes of [['one'], ['one', 'two']]) {
      const port = await freePort();
      const machine = start(['start', join(ROOT, 'examples/notes'), '--data', disk, '--publish', `${port}:80`]);
      const answer = await request(`http://127.0.0.1:${port}`, { method: 'POST', body: notes.at(-1) ?? '' });
      expect(await answer.json()).toEqual(notes);
      machine.child.kill('SIGINT');
      await machine.ended;
    }
  });

  it('a package of a workspace, with its sibling', async () => {
    const url = await boot('workspace/packages/server');
    expect(await (await request(url)).text()).toBe('Hello, workspace\n');
  });

  it('repl', async () => {
    const url = await boot('repl');
    expect(await (await request(url, { method: 'POST', body: 'var x = 20 + 1' })).text()).toBe('undefined\n');
    expect(await (await request(url, { method: 'POST', body: 'x * 2' })).text()).toBe('42\n');
    expect((await request(url, { method: 'POST', body: 'nonsense(' })).status).toBe(400);
  });
});
