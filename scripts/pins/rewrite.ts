/**
 * Moves pins in the text of a sources file. It changes only string literals, in the smallest part of the code for which
 * running the new text gives exactly the wanted sources, with all others unchanged. So it does not matter how the file
 * is written, and no change has other effects than the wanted ones.
 */
import { NodeosError } from '@nodeos/base';
import { canonicalJson, checksumOf, type Source } from '@nodeos/engine';
import { format, resolveConfig } from 'prettier';
import ts from 'typescript';
import { replaceWords, type MovedSource } from './moved.js';
import { pinsIn, type Pin } from './pins.js';

export interface Move extends MovedSource {
  readonly pin: Pin;
}

/**
 * Moves the pins one by one, or all at once if they share literals.
 * @param path of the file, to find its formatting options
 * @returns the new text
 * @throws NodeosError if no change of literals gives the wanted sources
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
    hint: 'move it by hand, to the source in the line above',
  });
}

interface Attempt {
  readonly text?: string;
  /** The names of other sources that would also change. */
  readonly others: readonly string[];
}

function attempt(text: string, moves: readonly Move[]): Attempt {
  const [{ pin }] = moves as [Move];
  const wanted = madeBy(text, pin.file, moves);
  const replacements = new Map(moves.flatMap((move) => [...move.replacements]));
  let others: string[] = [];
  for (const scope of scopesOf(text, checksumsOf(pin.source))) {
    const candidate = replaceIn(text, scope, replacements);
    const wrong = differences(wanted, candidate, pin.file);
    if (wrong.length === 0) return { text: candidate, others: [] };
    others = wrong.filter((name) => !moves.some((move) => move.pin.source.name === name));
  }
  return { others };
}

const names = (moves: readonly Move[]): string => moves.map(({ pin }) => pin.id).join(', ');
const checksumsOf = (source: Source): string[] => source.places.map((place) => checksumOf(place).digest);

type Made = Pick<Pin, 'source' | 'outerVersion'>;

/** The sources that a text exports, by their path. Those in `moves` are replaced by the wanted ones. */
function madeBy(text: string, file: string, moves: readonly Move[] = []): Map<string, Made> {
  return new Map(
    pinsIn(text, file).map(({ path, source, outerVersion }) => {
      const move = moves.find(({ pin }) => pin.path.join('/') === path.join('/'));
      if (!move) return [path.join('/'), { source, outerVersion }];
      return [
        path.join('/'),
        { ...move, outerVersion: outerVersion === source.version ? move.source.version : outerVersion },
      ];
    }),
  );
}

/** The names of the sources for which a text does not give what is wanted. */
function differences(wanted: ReadonlyMap<string, Made>, text: string, file: string): string[] {
  let made: ReadonlyMap<string, Made>;
  try {
    made = madeBy(text, file);
  } catch (error) {
    // For example, a checksum is left that belongs to no source.
    if (error instanceof NodeosError) return [...wanted.values()].map(({ source }) => source.name);
    throw error;
  }
  const same = (a: Made | undefined, b: Made | undefined): boolean =>
    canonicalJson([a?.source, a?.outerVersion]) === canonicalJson([b?.source, b?.outerVersion]);
  const paths = [...new Set([...wanted.keys(), ...made.keys()])];
  const wrong = paths.filter((path) => !same(wanted.get(path), made.get(path)));
  return wrong.map((path) => (wanted.get(path) ?? made.get(path))?.source.name ?? path);
}

/** The parts of the code around the literal with one of the checksums, smallest first. The last is the whole file. */
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

function replaceIn(text: string, scope: ts.TextRange, replacements: ReadonlyMap<string, string>): string {
  const file = ts.createSourceFile('sources.ts', text, ts.ScriptTarget.ES2022, true);
  const literals = literalsIn(file).map((node) => ({ pos: node.getStart(file), end: node.getEnd() }));
  // Replace from the end, so that earlier positions stay valid.
  return literals
    .filter(({ pos, end }) => pos >= scope.pos && end <= scope.end)
    .sort((a, b) => b.pos - a.pos)
    .reduce(
      (all, { pos, end }) => all.slice(0, pos) + replaceWords(all.slice(pos, end), replacements) + all.slice(end),
      text,
    );
}

/** Formats the text, because a longer version may not fit on its line. */
async function formatted(text: string, path: string): Promise<string> {
  return format(text, { ...(await resolveConfig(path)), filepath: path });
}
