/** The first configuration of a folder: what a newcomer looks for, and the build command if its package.json has one. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '@nodeos/app';
import { DEFAULT_MEMORY, DEFAULT_PUBLISH } from './schema.js';

/** @returns the text of the file, which is valid TypeScript and JavaScript */
export async function firstConfig(dir: string): Promise<string> {
  const build = (await hasBuildScript(dir))
    ? [`  build: 'npm run build', // runs on this machine before each boot`]
    : [];
  return [
    `import { defineConfig } from 'nodeos';`,
    '',
    '// The reference is docs/config.md. Command-line options win. `nodeos config` shows what holds.',
    'export default defineConfig({',
    ...build,
    `  memory: '${DEFAULT_MEMORY}',`,
    `  publish: ['${DEFAULT_PUBLISH}'], // http://127.0.0.1:8080 is port 80 of the machine`,
    `  env: {}, // variables of the application`,
    `  // hostname: 'web',`,
    `  // network: { interfaces: { eth0: { address: '192.168.1.10/24', gateway: '192.168.1.1' } }, dns: ['192.168.1.1'] },`,
    `  // timeServers: ['pool.ntp.org'],`,
    `  // files: { '/etc/greeting': 'greeting.txt' },`,
    `  // formats: ['disk'], // what nodeos build makes`,
    '});',
    '',
  ].join('\n');
}

async function hasBuildScript(dir: string): Promise<boolean> {
  try {
    const manifest = parseJson(await readFile(join(dir, 'package.json'), 'utf8')) as { scripts?: { build?: unknown } };
    return typeof manifest.scripts?.build === 'string';
  } catch {
    return false; // nodeos start says what is wrong with it
  }
}
