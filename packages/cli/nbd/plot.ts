/** nodeos nbd plot: draws the reads of a trace. */
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import type { TraceRecord } from '@nodeos/block';
import { parseSize, messageOf, NodeosError, UsageError } from '@nodeos/base';
import type { Command, Parsed } from '../command.js';
import { diskMap, hintFor, type Read } from '@nodeos/disk';
import { operandsOf } from './options.js';
import { unlessStopped } from './stop.js';

export const plotCommand: Command = {
  name: 'nbd plot',
  summary: 'Draws which parts of a disk were read when, from what --trace has written.',
  operands: 'TRACE',
  options: {
    size: { type: 'string', value: 'SIZE', help: 'of the disk, as 512M or 1G (default: as the trace says)' },
    export: { type: 'string', short: 'e', value: 'NAME', help: 'which one, if the trace is of several exports' },
    output: { type: 'string', short: 'o', value: 'FILE', help: 'the SVG file (default: standard output)' },
    title: { type: 'string', value: 'TEXT', help: "above the picture (default: the trace's name)" },
  },
  examples: [['nodeos nbd plot boot.trace --output boot.svg', 'after nodeos nbd serve disk.img --trace boot.trace']],
  async run(args, io) {
    const [path = ''] = operandsOf('nbd plot', args, 'TRACE');
    const wanted = args.text('size');
    const trace = await unlessStopped(readTrace(path, args), io);
    const size = wanted === undefined ? trace.size : parseSize(wanted, '--size');
    const svg = diskMap({ ...trace, title: args.text('title') ?? basename(path), size });
    const output = args.text('output');
    if (output === undefined) io.stdout.write(svg);
    else await write(output, svg);
    return 0;
  },
};

interface Trace {
  /** Size of the disk in bytes: from the trace, else the end of the last request. */
  readonly size: number;
  readonly reads: readonly Read[];
  readonly written: number;
}

/** A line of a trace: a request, the size of an export, or a note that requests were left out. */
type Line = Partial<TraceRecord> & { readonly size?: number };

async function readTrace(path: string, args: Parsed): Promise<Trace> {
  const lines = await linesOf(path);
  const chosen = chosenOf(lines, path, args.text('export'));
  const reads: Read[] = [];
  let [size, end, written] = [0, 0, 0];
  for (const line of lines) {
    const { op, t = 0, offset = 0, length = 0, export: name } = line;
    if (op === undefined && name === chosen) size = line.size ?? size;
    if (name !== chosen || line.error !== undefined) continue;
    if (op === 'read') reads.push({ t, offset, length });
    if (op === 'write') written += length;
    if (op === 'read' || op === 'write') end = Math.max(end, offset + length);
  }
  // Times start at the first read, because the server may have idled before.
  const start = reads.reduce((least, { t }) => Math.min(least, t), Infinity);
  return { size: size === 0 ? end : size, reads: reads.map((read) => ({ ...read, t: read.t - start })), written };
}

/** The export to draw. @throws UsageError if there are several and none is chosen, or the chosen one does not exist */
function chosenOf(lines: readonly Line[], path: string, wanted: string | undefined): string | undefined {
  const names = [...new Set(lines.map((line) => line.export).filter((name) => name !== undefined))];
  if (wanted === undefined ? names.length < 2 : names.includes(wanted)) return wanted ?? names[0];
  const problem = wanted === undefined ? 'has several exports' : `has no export ${JSON.stringify(wanted)}`;
  throw new UsageError(`${path}: ${problem}`, {
    hint: names.length === 0 ? 'leave --export out' : `--export ${names.join('|')}`,
  });
}

async function linesOf(path: string): Promise<Line[]> {
  const all: Line[] = [];
  let brokenLine: number | undefined;
  try {
    let number = 0;
    for await (const text of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
      number++;
      if (brokenLine !== undefined) break;
      const line = parsed(text);
      if (line) all.push(line);
      else brokenLine = number;
    }
    // The last line may be cut off if the server was killed.
    if (brokenLine !== undefined && brokenLine < number) throw new Error(`line ${brokenLine} is none of a trace`);
  } catch (error) {
    throw new NodeosError(`cannot read the trace ${path}: ${messageOf(error)}`, {
      ...hintFor(error, path),
      cause: error,
    });
  }
  return all;
}

function parsed(text: string): Line | undefined {
  try {
    const line = JSON.parse(text) as Line | null;
    return typeof line === 'object' && line !== null ? line : undefined;
  } catch {
    return undefined;
  }
}

async function write(path: string, text: string): Promise<void> {
  await writeFile(path, text).catch((error: unknown) => {
    throw new NodeosError(`--output ${path}: ${messageOf(error)}`, { ...hintFor(error, path), cause: error });
  });
}
