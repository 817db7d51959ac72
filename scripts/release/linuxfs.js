/**
 * Packs the built kernel of @nodeos/linuxfs as the package for one platform. Its sources are beside it, as its license
 * wants: ours in full, and Linux's by its name, version and checksum.
 */
import { copyFile, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LINUX } from '@nodeos/kernel';
import { publishedManifest } from './manifest.js';

const SOURCES = fileURLToPath(new URL('../../packages/linuxfs-kernel', import.meta.url));
export const PLATFORM_PACKAGE = '@nodeos/linuxfs-linux-x64';

/**
 * @param {string} program the built kernel
 * @param {string} folder where the package is laid out
 * @param {{ names: Record<string, string>, version?: string, repository?: string }} release
 * @returns {Promise<Record<string, any>>} its package.json
 */
export async function stageLinuxfs(program, folder, release) {
  const { version, license, engines } = JSON.parse(await readFile(join(SOURCES, 'package.json'), 'utf8'));
  const manifest = publishedManifest(
    {
      name: PLATFORM_PACKAGE,
      version,
      description: 'The kernel of @nodeos/linuxfs for Linux on x86-64: a program that serves the files of filesystems',
      keywords: ['filesystem', 'user-mode-linux'],
      license,
      engines,
      os: ['linux'],
      cpu: ['x64'],
      exports: { './linux': './linux', './package.json': './package.json' },
      files: ['linux', 'sources', 'LICENSE', 'README.md'],
    },
    'packages/linuxfs-kernel',
    release,
  );
  await mkdir(join(folder, 'sources'), { recursive: true });
  await copyFile(program, join(folder, 'linux'));
  for (const name of ['config', 'nodefs', 'patches'])
    await cp(join(SOURCES, name), join(folder, 'sources', name), { recursive: true });
  await writeFile(join(folder, 'README.md'), readme());
  await writeFile(join(folder, 'LICENSE'), LICENSE);
  await writeFile(join(folder, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  return manifest;
}

const readme = () => `# ${PLATFORM_PACKAGE}

The kernel of [@nodeos/linuxfs](https://www.npmjs.com/package/@nodeos/linuxfs) for Linux on x86-64. Install it beside that.

\`linux\` is Linux ${LINUX.version} as a program (User Mode Linux), with what is in \`sources\`: the file server \`nodefs\`, which becomes
\`fs/nodefs\` of the kernel's tree, the patches, and the configuration. Linux itself is this archive:

${LINUX.places.flatMap((place) => ('url' in place ? [`    ${place.url}\n    SHA-256 ${place.sha256}`] : [])).join('\n')}

@nodeos/linuxfs-kernel has the step that builds it: \`nodeos build linuxfs-kernel\`.
`;

const LICENSE = `The program \`linux\` and everything in \`sources\` are free software: you can redistribute them and modify them under the
terms of the GNU General Public License, version 2, as published by the Free Software Foundation:
https://www.gnu.org/licenses/old-licenses/gpl-2.0.html

They are distributed in the hope that they will be useful, but WITHOUT ANY WARRANTY; without even the implied warranty of
MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. SPDX-License-Identifier: GPL-2.0-only
`;
