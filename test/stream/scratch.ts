import { join } from 'node:path';
import { boot, IP, nbdkit, streamed } from './streamed.js';
import { freePort } from '../bench/measure.js';
const system = await streamed('examples/fastify', '/tmp/rootnbd/img');
const port = await freePort();
const server = await nbdkit(port, '-r', 'file', system.image);
const started = Date.now();
const machine = await boot(system, { append: [`root=nbd://10.0.2.2:${port}/root`, IP, ...process.argv.slice(2)], port: 18080, timeout: 25 });
for (;;) {
  const r = await fetch('http://127.0.0.1:18080/', {signal: AbortSignal.timeout(500)}).then((r) => r.text(), () => undefined);
  if (r !== undefined) { console.log(r, Date.now() - started); break; }
  if (Date.now() - started > 25000) break;
  await new Promise(r => setTimeout(r, 25));
}
await machine.powerOff().catch(e => console.log(e));
console.log(machine.console, machine.events.map(e => JSON.stringify(e)).join('\n'));
await server.kill();
