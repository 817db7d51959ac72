/**
 * Moves pins in the text of a sources file. Only string literals are changed, in the smallest part of the code for which
 * the new text makes exactly the sources that are wanted, and leaves all others as they were. So it does not matter how
 * the file is written, and a change that would do more or less is never made.
 */
import { NodeosError } from '@nodeos/base';
import { canonicalJson, checksumOf, type Source } from '@nodeos/engine';
import { format, resolveConfig } from 'prettier';
import ts from 'typescript';
import { replaceWords, type Moved } from './moved.js';
import { pinsIn, type Pin } from './pins.js';

export interface Move extends Moved {
  readonly pin: Pin;
}

/**
 * One pin after the other; or all at once, if they share literals.
 * @param path of the file, for the settings of its format
 * @throws NodeosError if no change of literals makes the wanted sources
 */
export async function rewrite(text: string, moves: readonly Move[], path: string): Promise<string> {
  const oneByOne = moves.reduce<string | undefined>(
    (changed, move) => (changed === undefined ? undefined : attempt(changed, [move]).text),
    text,
  );
  const { text: result, others } = oneByOne === undefined ? attempt(text, moves) : { text: oneByOne, others: [] };
  if (result !== undefined) return formatted(result, path);
  const [{ pin }] = moves as [Move];
  const how = others.length === 0 ? 'by changing its literals' : `without ${others.join(', ')}`;
  throw new NodeosError(`${pin.file}: ${names(moves)} cannot be moved ${how}`, {
    lines: moves.map(({ source }) => JSON.stringify(source)),
    hint: 'move it by hand, to what the line above says',
  });
}

interface Attempt {
  readonly text?: string;
  /** The sources that would change too. */
  readonly others: readonly string[];
}

function attempt(text: string, moves: readonly Move[]): Attempt {
  const [{ pin }] = moves as [Move];
  const wanted = madeBy(text, pin.file, moves);
  const words = new Map(moves.flatMap((move) => [...move.words]));
  let others: string[] = [];
  for (const scope of scopesOf(text, checksumsOf(pin.source))) {
    const candidate = replaceIn(text, scope, words);
    const wrong = differences(wanted, candidate, pin.file);
    if (wrong.length === 0) return { text: candidate, others: [] };
    others = wrong.filter((name) => !moves.some((move) => move.pin.source.name === name));
  }
  return { others };
}

const names = (moves: readonly Move[]): string => moves.map(({ pin }) => pin.id).join(', ');
const checksumsOf = (source: Source): string[] => source.places.map((place) => checksumOf(place).digest);

type Made = Pick<Pin, 'source' | 'beside'>;

/** Each source that a text makes, by where it is in the exports; `moves` of them as they are to be. */
function madeBy(text: string, file: string, moves: readonly Move[] = []): Map<string, Made> {
  return new Map(
    pinsIn(text, file).map(({ path, source, beside }) => {
      const move = moves.find(({ pin }) => pin.path.join('/') === path.join('/'));
      if (!move) return [path.join('/'), { source, beside }];
      return [path.join('/'), { ...move, beside: beside === source.version ? move.source.version : beside }];
    }),
  );
}

/** The names of the sources of which a text makes something else than is wanted. */
function differences(wanted: ReadonlyMap<string, Made>, text: string, file: string): string[] {
  let made: ReadonlyMap<string, Made>;
  try {
    made = madeBy(text, file);
  } catch (error) {
    // For example when a checksum is left that belongs to nothing.
    if (error instanceof NodeosError) return [...wanted.values()].map(({ source }) => source.name);
    throw error;
  }
  const same = (a: Made | undefined, b: Made | undefined): boolean =>
    canonicalJson([a?.source, a?.beside]) === canonicalJson([b?.source, b?.beside]);
  const paths = [...new Set([...wanted.keys(), ...made.keys()])];
  const wrong = paths.filter((path) => !same(wanted.get(path), made.get(path)));
  return wrong.map((path) => (wanted.get(path) ?? made.get(path))?.source.name ?? path);
}

/** Parts of the code around the literal with one of the checksums, the smallest first; the last is the whole file. */
function scopesOf(text: string, checksums: readonly string[]): ts.TextRange[] {
  const file = ts.createSourceFile('sources.ts', text, ts.ScriptTarget.ES2022, true);
  const literal = literalsIn(file).find((node) => checksums.some((sum) => node.text === sum));
  const scopes: ts.TextRange[] = [];
  for (let node: ts.Node | undefined = literal; node !== undefined; node = node.parent as ts.Node | undefined) {
    scopes.push({ pos: node.getStart(file), end: node.getEnd() });
  }
  return scopes;
}

function literalsIn(file: ts.SourceFile): (ts.Node & { readonly text: string })[] {
  const found: (ts.Node & { readonly text: string })[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node)) {
      found.push(node);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

function replaceIn(text: string, scope: ts.TextRange, words: ReadonlyMap<string, string>): string {
  const file = ts.createSourceFile('sources.ts', text, ts.ScriptTarget.ES2022, true);
  const literals = literalsIn(file).map((node) => ({ pos: node.getStart(file), end: node.getEnd() }));
  // From the end, so that the positions before it stay.
  return literals
    .filter(({ pos, end }) => pos >= scope.pos && end <= scope.end)
    .sort((a, b) => b.pos - a.pos)
    .reduce((all, { pos, end }) => all.slice(0, pos) + replaceWords(all.slice(pos, end), words) + all.slice(end), text);
}

/** A version may have become longer than its line. */
async function formatted(text: string, path: string): Promise<string> {
  return format(text, { ...(await resolveConfig(path)), filepath: path });
}
