/** nodeos nbd list: the exports of a server. */
import { visible, visibleJson } from '@nodeos/base';
import type { Handshake } from '@nodeos/nbd';
import type { Command } from '../command.js';
import { JSON_OPTION } from '../json-options.js';
import { describeExport, withHandshake, serverOf, type Description, type Server } from '@nodeos/disk';
import { operandsOf } from './options.js';
import { unlessStopped } from './stop.js';
import { withExport } from './uris.js';

export const listCommand: Command = {
  name: 'nbd list',
  summary: 'Lists the exports of an NBD server: size, name, description.',
  operands: 'URI',
  options: { json: JSON_OPTION },
  examples: [['nodeos nbd list nbd://10.0.0.2', 'what the server has']],
  async run(args, io) {
    const [text = ''] = operandsOf('nbd list', args, 'URI');
    const found = await unlessStopped(listServer(text, io.signal), io);
    io.stdout.write(args.flag('json') ? `${visibleJson(found, 2)}\n` : found.exports.map(row).join(''));
    return 0;
  },
};

const listServer = (text: string, signal: AbortSignal): Promise<Server & { readonly exports: readonly Listed[] }> =>
  withHandshake(text, signal, async (handshake) => ({
    ...serverOf(handshake),
    exports: await describeAll(handshake, text),
  }));

type Listed = Description | Pick<Description, 'export-name' | 'description' | 'uri'>;

/** Describes all exports. If the server lists an export but refuses to describe it, only its name is given. */
async function describeAll(handshake: Handshake, text: string): Promise<Listed[]> {
  const all: Listed[] = [];
  for (const { name, description } of await handshake.list()) {
    const uri = withExport(text, name);
    const details = description === undefined ? {} : { description };
    all.push(
      await handshake.getInfo(name).then(
        (info): Listed => ({ ...details, ...describeExport(info, uri) }),
        (): Listed => ({ 'export-name': name, ...details, uri }),
      ),
    );
  }
  return all;
}

function row(item: Listed): string {
  const size = 'export-size-str' in item ? item['export-size-str'] : '?';
  const name = item['export-name'] === '' ? '(default)' : visible(item['export-name']);
  return `${size.padStart(12)}  ${name}${item.description === undefined ? '' : `  ${visible(item.description)}`}\n`;
}
