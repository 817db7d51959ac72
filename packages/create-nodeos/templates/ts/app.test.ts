import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { answer } from './app.ts';

test('says hello', async (context) => {
  const server = createServer(answer).listen(0, '127.0.0.1');
  context.after(() => server.close());
  await once(server, 'listening');
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  assert.equal(response.status, 200);
  assert.match(await response.text(), /^Hello from .+: Node\.js v\d+/);
});
