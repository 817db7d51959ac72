/** nodeos image shell: looks around in an image, and changes it. */
import { createInterface, type Interface } from 'node:readline/promises';
import { posix } from 'node:path';
import { messageOf, NodeosError, visible, type InterruptedError } from '@nodeos/base';
import type { Command } from '../command.js';
import { uninterrupted } from './edit.js';
import { oneLocation } from './location.js';
import { withMounted } from './open.js';
import { namesIn, VERBS, type Session } from './shell-verbs.js';
import { wordsIn } from './shell-words.js';

export const shellCommand: Command = {
  name: 'image shell',
  summary: 'A prompt in an image: ls, cd, cat, cp, mv, mkdir, rm, stat, edit. Also runs lines of standard input.',
  operands: 'IMAGE[:PARTITION][/PATH]',
  options: {},
  examples: [
    ['nodeos image shell sdcard.img:2', 'Tab completes names; help says what there is'],
    ["printf 'mkdir /data\\ncp host:app.json /data\\n' | nodeos image shell root.ext4", 'several changes in one go'],
  ],
  async run(args, io) {
    const location = await oneLocation('image shell', args.operands);
    const isPrompt = io.stdin.isTTY ?? false;
    return withMounted(location, isPrompt ? uninterrupted(io) : io, async (mounted) => {
      if (!(await mounted.promises.stat(location.path)).isDirectory())
        throw new NodeosError(`${location.text} is no folder`);
      const session: Session = { mounted, io, folder: location.path };
      return isPrompt ? prompt(session) : script(session);
    });
  },
};

/** Line by line, to the end or to the first failure. */
async function script(session: Session): Promise<number> {
  const { stdin, signal } = session.io;
  for await (const line of createInterface({ input: stdin as NodeJS.ReadableStream })) {
    signal.throwIfAborted();
    if (!(await runLine(session, line, signal))) return 1;
    if (session.isOver) break;
  }
  return 0;
}

/** Ctrl-C ends what runs, or empties the line; Ctrl-D leaves. The terminal sends no signals while lines are edited. */
async function prompt(session: Session): Promise<number> {
  const { stdin, stdout, signal } = session.io;
  const input = stdin as NodeJS.ReadableStream & { setRawMode(isRaw: boolean): void };
  const completer = (line: string): Promise<[string[], string]> => complete(session, line);
  const editor = createInterface({ input, output: stdout, terminal: true, completer });
  const lines = editor[Symbol.asyncIterator]();
  let running: AbortController | undefined;
  editor.on('SIGINT', () => (running ? running.abort(new NodeosError('interrupted')) : emptyLine(editor)));
  const leave = (): void => {
    if ((signal.reason as Partial<InterruptedError>).signal !== 'SIGINT') editor.close(); // that was for $EDITOR
  };
  signal.addEventListener('abort', leave, { once: true });
  session.withTerminal = async (work) => {
    editor.pause();
    input.setRawMode(false);
    await work().finally(() => input.setRawMode(true));
    editor.resume();
  };
  while (!session.isOver) {
    editor.setPrompt(`${visible(`${session.mounted.type}:${session.folder}`, 200)}> `);
    editor.prompt();
    const next = (await lines.next()) as IteratorResult<string, undefined>;
    if (next.done) break;
    running = new AbortController();
    await runLine(session, next.value, running.signal);
    running = undefined;
  }
  signal.removeEventListener('abort', leave);
  editor.close();
  return 0;
}

function emptyLine(editor: Interface): void {
  for (const name of ['e', 'u']) editor.write(null as never, { ctrl: true, name });
  editor.prompt();
}

/** @returns whether it succeeded; the reason of a failure is on standard error */
async function runLine(session: Session, line: string, signal: AbortSignal): Promise<boolean> {
  try {
    const [name, ...words] = wordsIn(line);
    if (name === undefined) return true;
    const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
    if (!verb) throw new NodeosError(`${name}: there is no such command; help says which there are`);
    await verb.run(session, words, signal);
    return true;
  } catch (error) {
    session.io.stderr.write(`${visible(messageOf(error), 2000)}\n`);
    return false;
  }
}

/** The commands, then names in the image. A folder goes on with `/`. */
async function complete({ mounted, folder }: Session, line: string): Promise<[string[], string]> {
  const [, before = '', word = ''] = /^(.*?)((?:[^\s\\]|\\.)*)$/s.exec(line) ?? [];
  if (before.trim() === '') return [Object.keys(VERBS).filter((name) => name.startsWith(word)), word];
  const plain = word.replace(/\\(.)/g, '$1');
  const start = plain.slice(0, plain.lastIndexOf('/') + 1);
  const names = await namesIn(mounted, posix.resolve(folder, start || '.')).catch(() => []);
  const quoted = names.map((name) => (start + name).replace(/[\s\\'"]/g, '\\$&'));
  return [quoted.filter((name) => name.startsWith(word)), word];
}
