/** Debian's registry of container images on the loopback. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

export interface Registry {
  readonly host: string;
  /** Runs its own collection. @returns bytes of its files before and after */
  collect(): Promise<readonly [before: number, after: number]>;
  close(): Promise<void>;
}

const run = promisify(execFile);

async function bytesIn(folder: string): Promise<number> {
  const { stdout } = await run('du', ['-sb', folder]);
  return Number.parseInt(stdout, 10);
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

/** @param folder for its blobs and its configuration. @param deletes whether it deletes manifests */
export async function startRegistry(folder: string, deletes = true): Promise<Registry> {
  const host = `127.0.0.1:${await freePort()}`;
  const config = join(folder, 'config.yml');
  await writeFile(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${folder}/blobs}, delete: {enabled: ${deletes}}}\nhttp: {addr: '${host}'}\n`,
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
    async collect() {
      const before = await bytesIn(join(folder, 'blobs'));
      await run('docker-registry', ['garbage-collect', config]);
      return [before, await bytesIn(join(folder, 'blobs'))];
    },
    async close() {
      child.kill();
      await ended;
    },
  };
}
