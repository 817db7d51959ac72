/** The log of a running server: text for people, JSON lines for scripts. */
import { messageOf, formatSize, visibleJson } from '@nodeos/base';
import type { ServerEvent } from '@nodeos/nbd';
import { printMessage, type Io, type Parsed } from '../command.js';
import type { Opened } from '@nodeos/disk';
import { withExport } from './uris.js';

export interface Log {
  listening(uris: readonly string[], exports: readonly Opened[], metrics: string | undefined): void;
  readonly event: (event: ServerEvent) => void;
}

/** Creates the log. If a command uses the terminal, the text log shows only errors. */
export function logFor(args: Parsed, io: Io): Log {
  return args.flag('json') ? jsonLog((text) => io.stdout.write(text)) : textLog(io, args.passthrough.length > 0);
}

function jsonLog(write: (text: string) => void): Log {
  const send = (line: object): void => write(visibleJson({ time: new Date().toISOString(), ...line }) + '\n');
  return {
    listening(uris, exports, metrics) {
      const list = exports.map(({ name, source, backend, isForEach }) => ({
        name,
        source,
        size: backend.size,
        read_only: backend.write === undefined && !isForEach,
        uris: uris.map((uri) => withExport(uri, name)),
      }));
      send({ event: 'listening', exports: list, ...(metrics === undefined ? {} : { metrics }) });
    },
    event: ({ error, ...event }) => send({ ...event, ...(error === undefined ? {} : { error: messageOf(error) }) }),
  };
}

function textLog(io: Io, isQuiet: boolean): Log {
  return {
    listening(uris, exports, metrics) {
      if (isQuiet) return;
      for (const uri of uris) for (const { name } of exports) io.stdout.write(`${withExport(uri, name)}\n`);
      for (const { name, source, backend, isForEach } of exports) {
        const readOnly = backend.write === undefined ? ', read-only' : '';
        const access = isForEach ? ', what a connection writes ends with it' : readOnly;
        printMessage(
          io,
          `${name === '' ? 'the default export' : name} is ${source}: ${formatSize(backend.size)}${access}`,
        );
      }
      if (metrics !== undefined) printMessage(io, `metrics: ${metrics}`);
    },
    event: (event) => {
      if (!isQuiet || event.error !== undefined) printMessage(io, lineOf(event));
    },
  };
}

const EVENT_TEXTS: Readonly<Record<ServerEvent['event'], string>> = {
  open: 'uses',
  close: 'has left',
  refused: 'was refused',
  protocol: 'broke the protocol',
  request: 'had a request fail',
  export: 'could not open',
};

function lineOf({ event, connection, peer, export: name, error }: ServerEvent): string {
  const exportText = name === undefined ? '' : ` ${name === '' ? 'the default export' : JSON.stringify(name)}`;
  return `connection ${connection} (${peer}) ${EVENT_TEXTS[event]}${exportText}${error === undefined ? '' : `: ${messageOf(error)}`}`;
}
