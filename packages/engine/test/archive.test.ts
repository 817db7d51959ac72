import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { Cache } from '../cache.js';
import { build } from '../engine.js';
import { sha256 } from '@nodeos/base';
import { namesIn, recorder, rejectionOf, serve, stepOf, tempDir } from './helpers.js';

it('a corrupt archive with the right checksum fails the step with the message of tar', async () => {
  const garbage = randomBytes(100_000);
  const server = await serve((_request, response) => response.end(garbage));
  const step = stepOf(
    'unpacks',
    async (context) => {
      await context.run('tar', ['-xf', await context.fetch('archive')]);
    },
    {
      sources: {
        archive: {
          name: 'archive',
          version: '1',
          places: [{ url: `${server.url}/a.tar.xz`, sha256: sha256(garbage) }],
        },
      },
    },
  );
  const cache = new Cache(tempDir());
  const error = await rejectionOf(build([step], { cache, progress: recorder(), jobs: 1 }));
  expect(error.message).toMatch(/^unpacks: tar -xf \S+: exit status 2$/);
  expect(error.lines.join('\n')).toMatch(/not look like a tar archive|not in \w+ format/);
  expect(error.log).toContain('unpacks-x86_64-');
  expect(namesIn(`${cache.root}/steps`)).toEqual([]);
  expect(namesIn(`${cache.root}/tmp`)).toEqual([]);
});
