/** nodeos oci inspect: what an image is. Its layers are not fetched. */
import { formatSize, visible, visibleJson } from '@nodeos/base';
import { platformText, type Image } from '@nodeos/oci';
import type { Command } from '../command.js';
import { operandsOf } from '../nbd/options.js';
import { withImage } from './open.js';
import { IMAGE_OPTIONS } from './options.js';

export const inspectCommand: Command = {
  name: 'oci inspect',
  summary: 'Says what an image is: its platform, its layers, and what it starts.',
  operands: 'IMAGE',
  options: IMAGE_OPTIONS,
  examples: [
    ['nodeos oci inspect docker://debian:12', 'nothing but the manifest and the configuration is fetched'],
    ['nodeos oci inspect oci:layout --json', 'one JSON object'],
  ],
  async run(args, io) {
    const [name = ''] = operandsOf('oci inspect', args, 'IMAGE');
    await withImage(name, args, io, (image) => {
      const lines = args.flag('json')
        ? [visibleJson(described(image))]
        : linesOf(image).map((line) => visible(line, 4000));
      io.stdout.write(`${lines.join('\n')}\n`);
      return Promise.resolve();
    });
    return 0;
  },
};

const described = ({ name, digest, size, config, manifest }: Image): object => ({
  name,
  digest,
  platform: platformText(config),
  ...(config.created === undefined ? {} : { created: config.created }),
  size,
  layers: manifest.layers.map((layer, index) => ({ ...layer, diffId: config.diffIds[index] })),
  config: config.config,
});

function linesOf({ name, digest, size, config, manifest }: Image): string[] {
  const { Entrypoint, Cmd, Env, User, WorkingDir, ExposedPorts } = config.config;
  const rows: (readonly [string, string])[] = [
    ['digest', digest],
    ['platform', platformText(config)],
    ['created', config.created ?? ''],
    [
      'command',
      [...Entrypoint, ...Cmd].map((word) => (/^[\w./:=-]+$/.test(word) ? word : JSON.stringify(word))).join(' '),
    ],
    ['user', User],
    ['folder', WorkingDir],
    ['ports', ExposedPorts.join(' ')],
    ...Env.map((value) => ['variable', value] as const),
    ...manifest.layers.map((layer) => ['layer', `${layer.digest} ${formatSize(layer.size)}`] as const),
  ];
  return [
    `${name}: ${formatSize(size)}`,
    ...rows.filter(([, value]) => value !== '').map(([key, value]) => `  ${key.padEnd(9)} ${value}`),
  ];
}
