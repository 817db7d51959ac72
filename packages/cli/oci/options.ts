/** What every command that takes an image takes. */
import type { Option } from '../command.js';
import { JSON_OPTION } from '../json-options.js';

export const IMAGE_OPTIONS = {
  platform: {
    type: 'string',
    value: 'OS/ARCH',
    help: 'which image of an index: linux/amd64, linux/arm/v7 (default: that of this machine)',
  },
  mirror: {
    type: 'string',
    value: 'FROM=TO',
    multiple: true,
    help: 'ask TO first for images of FROM, both HOST[/PATH]; can be repeated',
  },
  'plain-http': { type: 'boolean', help: 'speak to registries without TLS (default: only on the loopback)' },
  json: JSON_OPTION,
} as const satisfies Readonly<Record<string, Option>>;
