/**
 * Moves pins in the text of a sources file. Only string literals are changed, in the smallest part of the code for which
 * the new text makes exactly the sources that are wanted, and leaves all others as they were. So it does not matter how
 * the file is written, and a change that would do more or less is never made.
 */
import { canonicalJson, checksumOf, NodeosError, type Source } from '@nodeos/build';
import { format, resolveConfig } from 'prettier';
import ts from 'typescript';
import { replaceWords, type Moved } from './moved.js';
import { pinsIn, type Pin } from './pins.js';

export interface Move extends Moved {
  readonly pin: Pin;
}

/**
 * @param path of the file, for the settings of its format
 * @throws NodeosError if no change of literals makes the wanted sources
 */
export async function rewrite(text: string, moves: readonly Move[], path: string): Promise<string> {
  const [first] = moves;
  if (!first) return text;
  const wanted = describe(text, first.pin.file, moves);
  const words = new Map(moves.flatMap((move) => [...move.words]));
  for (const scope of scopesOf(text, checksumsOf(first.pin.source))) {
    const candidate = replaceIn(text, scope, words);
    if (makes(candidate, first.pin.file, wanted)) return formatted(candidate, path);
  }
  throw new NodeosError(`${first.pin.file}: ${names(moves)} cannot be moved without changing another pin or its code`, {
    lines: moves.map(({ source }) => JSON.stringify(source)),
    hint: 'move it by hand to what the lines above say, with the pins that change with it',
  });
}

const names = (moves: readonly Move[]): string => moves.map(({ pin }) => pin.id).join(', ');
const checksumsOf = (source: Source): string[] => source.places.map((place) => checksumOf(place).digest);

/** All sources that a text makes, as one string; `moves` of them as they are to be. */
function describe(text: string, file: string, moves: readonly Move[] = []): string {
  const sources = pinsIn(text, file).map(({ path, source }) => {
    const move = moves.find(({ pin }) => pin.path.join('/') === path.join('/'));
    return [path, move?.source ?? source];
  });
  return canonicalJson(sources);
}

function makes(candidate: string, file: string, wanted: string): boolean {
  try {
    return describe(candidate, file) === wanted;
  } catch (error) {
    // For example when a checksum is left that belongs to nothing.
    if (error instanceof NodeosError) return false;
    throw error;
  }
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
