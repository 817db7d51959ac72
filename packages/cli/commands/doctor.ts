/** nodeos doctor: what this host has and lacks. Each check has its own function in doctor/. */
import { visible, visibleJson } from '@nodeos/base';
import { BUILD_OPTIONS } from '../building.js';
import { checkNoOperands } from '../cache/common.js';
import type { Command, Io, Unlisted } from '../command.js';
import { jsonLineForEach } from '../json-options.js';
import { settle } from '../config/settle.js';
import { cache, disk, remotes } from '../doctor/cache.js';
import type { Check, Finding } from '../doctor/finding.js';
import { accelerator, memory, port, qemu } from '../doctor/machine.js';
import { node, npm, tools } from '../doctor/tools.js';

/** In the order in which they are shown. */
const CHECKS: readonly Check[] = [node, npm, qemu, accelerator, tools, memory, disk, cache, remotes, port];

const STATES: Readonly<Record<Finding['state'], string>> = { ok: 'ok', note: 'note', lacking: 'lacking' };
const LONGEST_LINE = 4000;
/** The last column is at least that wide. */
const NARROWEST = 20;

export const doctorCommand: Unlisted<Command> = {
  operands: '',
  options: {
    target: BUILD_OPTIONS.target,
    remote: BUILD_OPTIONS.remote,
    trust: BUILD_OPTIONS.trust,
    'no-remote': BUILD_OPTIONS['no-remote'],
    json: jsonLineForEach('finding'),
  },
  examples: [
    ['nodeos doctor', 'exit status 0 if nothing is lacking, else 1'],
    ['nodeos doctor --target aarch64', 'for machines of another kind'],
    ['nodeos doctor --json', 'for scripts and reports'],
  ],
  async run(given, io) {
    checkNoOperands('doctor', given);
    const settled = await settle(undefined, given, io);
    const findings = (await Promise.all(CHECKS.map((check) => check(settled, io)))).flat();
    const lines = given.flag('json') ? findings.map((finding) => visibleJson(finding)) : linesOf(findings, io);
    for (const line of lines) io.stdout.write(`${line}\n`);
    return findings.some(({ state }) => state === 'lacking') ? 1 : 0;
  },
};

/** A table. On a terminal its last column is as wide as there is room; elsewhere each finding is one line. */
function linesOf(findings: readonly Finding[], { stdout }: Io): string[] {
  const widthOf = (texts: readonly string[]): number => Math.max(...texts.map((text) => text.length)) + 2;
  const [states, names] = [widthOf(Object.values(STATES)), widthOf(findings.map(({ name }) => name))];
  const indent = ' '.repeat(states + names);
  const room = stdout.isTTY ? Math.max(NARROWEST, (stdout.columns ?? 80) - indent.length) : Infinity;
  return findings.flatMap(({ state, name, found, remedy }) => {
    const texts = [...wrapped(visible(found, LONGEST_LINE), room), ...remedyLines(remedy)];
    const [first = '', ...rest] = texts;
    return [STATES[state].padEnd(states) + name.padEnd(names) + first, ...rest.map((text) => indent + text)];
  });
}

/** A remedy stays on one line, so that it can be copied. */
const remedyLines = (remedy: string | undefined): string[] => (remedy === undefined ? [] : [`→ ${visible(remedy)}`]);

/** Breaks a text between words. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
