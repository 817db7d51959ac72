/**
 * Packs the built kernels of @nodeos/linuxfs, each as the package for its platforms. Its sources are beside it, as its
 * license wants: ours in full, and Linux's by its name, version and checksum.
 */
import { copyFile, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LINUX } from '@nodeos/kernel';
import { kindOf } from '@nodeos/linuxfs';
import { publishedManifest } from './manifest.js';

const SOURCES = fileURLToPath(new URL('../../packages/linuxfs-kernel', import.meta.url));

/**
 * The packages, by the kinds of kernels. `packages/linuxfs/binary.ts` looks for these names and files. npm installs the one
 * that fits; one for QEMU is for where Linux is no program.
 */
const PLATFORMS = {
  program: {
    name: '@nodeos/linuxfs-linux-x64',
    file: 'linux',
    os: ['linux'],
    cpu: ['x64'],
    keyword: 'user-mode-linux',
    where: 'for Linux on x86-64',
    what: 'as a program (User Mode Linux)',
    step: 'linuxfs-kernel',
  },
  x86_64: {
    name: '@nodeos/linuxfs-qemu-x64',
    file: 'kernel',
    os: ['darwin'],
    cpu: ['x64'],
    keyword: 'qemu',
    where: 'for macOS on x86-64, under QEMU',
    what: 'for QEMU (qemu-system-x86_64, which must be installed)',
    step: 'linuxfs-kernel-virt',
  },
  aarch64: {
    name: '@nodeos/linuxfs-qemu-arm64',
    file: 'kernel',
    os: ['linux', 'darwin'],
    cpu: ['arm64'],
    keyword: 'qemu',
    where: 'for Linux and macOS on arm64, under QEMU',
    what: 'for QEMU (qemu-system-aarch64, which must be installed)',
    step: 'linuxfs-kernel-virt --target aarch64',
  },
};

/**
 * @param {string} file a built kernel
 * @returns {Promise<string>} the name of its package
 */
export const platformPackage = async (file) => PLATFORMS[await kindOf(file)].name;

/**
 * @param {string} kernel the file of the built kernel
 * @param {string} folder where the package is laid out
 * @param {{ names: Record<string, string>, version?: string, repository?: string }} release
 * @returns {Promise<Record<string, any>>} its package.json
 */
export async function stageLinuxfs(kernel, folder, release) {
  const platform = PLATFORMS[await kindOf(kernel)];
  const { name, file, os, cpu, keyword, where } = platform;
  const { version, license, engines } = JSON.parse(await readFile(join(SOURCES, 'package.json'), 'utf8'));
  const manifest = publishedManifest(
    {
      name,
      version,
      description: `The kernel of @nodeos/linuxfs ${where}: it serves the files of filesystems`,
      keywords: ['filesystem', keyword],
      license,
      engines,
      os,
      cpu,
      exports: { [`./${file}`]: `./${file}`, './package.json': './package.json' },
      files: [file, 'sources', 'LICENSE', 'README.md'],
    },
    'packages/linuxfs-kernel',
    release,
  );
  await mkdir(join(folder, 'sources'), { recursive: true });
  await copyFile(kernel, join(folder, file));
  for (const part of ['config', 'nodefs', 'patches'])
    await cp(join(SOURCES, part), join(folder, 'sources', part), { recursive: true });
  await writeFile(join(folder, 'README.md'), readme(platform));
  await writeFile(join(folder, 'LICENSE'), licenseOf(file));
  await writeFile(join(folder, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
  return manifest;
}

const readme = ({ name, file, where, what, step }) => `# ${name}

The kernel of [@nodeos/linuxfs](https://www.npmjs.com/package/@nodeos/linuxfs) ${where}. It is installed with that.

\`${file}\` is Linux ${LINUX.version} ${what}, with what is in \`sources\`: the file server \`nodefs\`, which becomes
\`fs/nodefs\` of the kernel's tree, the patches, and the configuration. Linux itself is this archive:

${LINUX.places.flatMap((place) => ('url' in place ? [`    ${place.url}\n    SHA-256 ${place.sha256}`] : [])).join('\n')}

@nodeos/linuxfs-kernel has the step that builds it: \`nodeos build ${step}\`.
`;

const licenseOf = (
  file,
) => `The kernel \`${file}\` and everything in \`sources\` are free software: you can redistribute them and modify them under the
terms of the GNU General Public License, version 2, as published by the Free Software Foundation:
https://www.gnu.org/licenses/old-licenses/gpl-2.0.html

They are distributed in the hope that they will be useful, but WITHOUT ANY WARRANTY; without even the implied warranty of
MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. SPDX-License-Identifier: GPL-2.0-only
`;
