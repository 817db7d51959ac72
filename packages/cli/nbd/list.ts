/** nodeos nbd list: the exports of a server. */
import { visible, visibleJson } from '@nodeos/base';
import type { Handshake } from '@nodeos/nbd';
import type { Command } from '../command.js';
import { describeExport, negotiating, serverOf, type Description, type Server } from '@nodeos/disk';
import { JSON_OPTION, operandsOf } from './options.js';
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
    const found = await unlessStopped(ask(text, io.signal), io);
    io.stdout.write(args.flag('json') ? `${visibleJson(found, 2)}\n` : found.exports.map(row).join(''));
    return 0;
  },
};

const ask = (text: string, signal: AbortSignal): Promise<Server & { readonly exports: readonly Listed[] }> =>
  negotiating(text, signal, async (handshake) => ({
    ...serverOf(handshake),
    exports: await lookAtAll(handshake, text),
  }));

type Listed = Description | Pick<Description, 'export-name' | 'description' | 'uri'>;

/** Describes all exports. If the server lists an export but refuses to describe it, only its name is given. */
async function lookAtAll(handshake: Handshake, text: string): Promise<Listed[]> {
  const all: Listed[] = [];
  for (const { name, description } of await handshake.list()) {
    const uri = withExport(text, name);
    const words = description === undefined ? {} : { description };
    all.push(
      await handshake.look(name).then(
        (info): Listed => ({ ...words, ...describeExport(info, uri) }),
        (): Listed => ({ 'export-name': name, ...words, uri }),
      ),
    );
  }
  return all;
}

function row(one: Listed): string {
  const size = 'export-size-str' in one ? one['export-size-str'] : '?';
  const name = one['export-name'] === '' ? '(default)' : visible(one['export-name']);
  return `${size.padStart(12)}  ${name}${one.description === undefined ? '' : `  ${visible(one.description)}`}\n`;
}
