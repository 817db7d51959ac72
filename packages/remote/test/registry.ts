/** Debian's registry of container images on the loopback. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Registry {
  readonly host: string;
  close(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** @param folder for its blobs and its configuration */
export async function startRegistry(folder: string): Promise<Registry> {
  const host = `127.0.0.1:${await freePort()}`;
  const config = join(folder, 'config.yml');
  await writeFile(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${folder}/blobs}, delete: {enabled: true}}\nhttp: {addr: '${host}'}\n`,
  );
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  for (let tries = 0; ; tries++) {
    if (
      await fetch(`http://${host}/v2/`).then(
        (response) => response.ok,
        () => false,
      )
    )
      break;
    if (tries === 100 || child.exitCode !== null) throw new Error('docker-registry does not answer');
    await sleep(100);
  }
  return {
    host,
    async close() {
      child.kill();
      await ended;
    },
  };
}
