/** nodeos nbd info: describes a disk and what its server supports, in the format of nbdinfo. */
import { visible, visibleJson } from '@nodeos/base';
import { isNbdUri } from '@nodeos/nbd';
import type { Command } from '../command.js';
import { JSON_OPTION } from '../json-options.js';
import { describeRemote, describeSource, withHandshake, serverOf, type Description, type Server } from '@nodeos/disk';
import { operandsOf } from './options.js';
import { unlessStopped } from './stop.js';

export const infoCommand: Command = {
  name: 'nbd info',
  summary: 'Shows what a disk is: its size, and what can be done with it.',
  operands: 'SOURCE',
  options: { json: JSON_OPTION },
  examples: [
    ['nodeos nbd info nbd://10.0.0.2/disk', 'size, flags, block sizes and contexts of an export'],
    ['nodeos nbd info partition:1:disk.img', 'how large a partition is; of none of the number, which ones there are'],
    ['nodeos nbd info https://example.org/disk.img', 'whether the server can send parts of it, and how large it is'],
  ],
  async run(args, io) {
    const [text = ''] = operandsOf('nbd info', args, 'SOURCE');
    const found = await unlessStopped(
      isNbdUri(text) ? queryServer(text, io.signal) : describeLocal(text, io.signal),
      io,
    );
    io.stdout.write(args.flag('json') ? `${visibleJson(found, 2)}\n` : textOf(found));
    return 0;
  },
};

type Found = Partial<Server> & { readonly exports: readonly Description[] };

async function queryServer(text: string, signal: AbortSignal): Promise<Found> {
  return withHandshake(text, signal, async (handshake, uri) => ({
    ...serverOf(handshake),
    exports: [await describeRemote(handshake, uri, text, signal)],
  }));
}

const describeLocal = async (text: string, signal: AbortSignal): Promise<Found> => ({
  exports: [await describeSource(text, signal)],
});

function textOf({ exports, ...server }: Found): string {
  const lines = server.protocol === undefined ? [] : [`protocol: ${protocolOf(server)}`];
  for (const { 'export-name': name, 'export-size': size, 'export-size-str': sizeText, ...rest } of exports)
    lines.push(
      `export=${visible(JSON.stringify(name))}:`,
      `\texport-size: ${size} (${sizeText})`,
      ...Object.entries(rest).map(row),
    );
  return lines.join('\n') + '\n';
}

const protocolOf = ({ protocol, TLS, structured, extended }: Partial<Server>): string =>
  `${protocol} ${TLS ? 'with' : 'without'} TLS, using ${extended ? 'extended' : structured ? 'structured' : 'simple'} packets`;

const row = ([name, value]: [string, unknown]): string =>
  Array.isArray(value)
    ? [`\t${name}:`, ...value.map((item) => `\t\t${visible(String(item))}`)].join('\n')
    : `\t${name}: ${visible(String(value))}`;
