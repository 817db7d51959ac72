/** Completion for fish. https://fishshell.com/docs/current/completions.html */
import { nameOfAction, union, type Branch, type CompletedOption, type Leaf, type Words } from './words.js';

const FUNCTIONS = String.raw`
# Whether the command line begins with these words.
function __nodeos_at
    set -l words (commandline -opc)
    set -e words[1]
    test (count $words) -ge (count $argv); or return 1
    for i in (seq (count $argv))
        test "$words[$i]" = "$argv[$i]"; or return 1
    end
end
# The same, and the cursor is in the next word.
function __nodeos_after
    test (count (commandline -opc)) -eq (math (count $argv) + 1); and __nodeos_at $argv
end
# Names with commas between them.
function __nodeos_list
    set -l before (string match -r '^.*,' -- (commandline -ct | string replace -r '^--[^=]*=' ''))
    for name in $argv
        echo "$before$name"
    end
end`.trim();

export function fishScript(branches: readonly Branch[]): string {
  return [
    '# Completion of nodeos for fish: nodeos completion fish | source; or as a file nodeos.fish in',
    '# ~/.config/fish/completions',
    FUNCTIONS,
    'complete -c nodeos -e',
    'complete -c nodeos -f',
    "complete -c nodeos -n '__nodeos_after' -s h -l help -d 'how it is used'",
    ...branches.flatMap(linesOf),
    '',
  ].join('\n');
}

function linesOf({ name, summary, leaves, isGroup }: Branch): string[] {
  const actions = isGroup ? leaves.map((leaf) => wordLine([name], nameOfAction(leaf), leaf.summary)) : [];
  return [wordLine([], name, summary), ...actions, ...leaves.flatMap(leafLines)];
}

/** In single quotes, fish knows two escapes. */
const quoted = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;

const wordLine = (before: readonly string[], word: string, summary: string): string =>
  `complete -c nodeos -n ${quoted(['__nodeos_after', ...before].join(' '))} -a ${word} -d ${quoted(summary)}`;

function leafLines({ path, options, operands }: Leaf): string[] {
  const at = `complete -c nodeos -n ${quoted(['__nodeos_at', ...path].join(' '))}`;
  const words = union(operands.map((operand) => operand.words));
  const offered = argumentsFor(words);
  return [
    ...(offered === '' ? [] : [`${at} ${offered}`]),
    ...options.map((option) => `${at} ${optionArguments(option)} -d ${quoted(option.help)}`),
  ];
}

function optionArguments({ name, short, value, words }: CompletedOption): string {
  const flags = `${short === undefined ? '' : `-s ${short} `}-l ${name}`;
  if (value === undefined) return flags;
  return `${flags} -r ${argumentsFor(words) || '-f'}`;
}

/** `-F` offers files, `-f` none. */
function argumentsFor({ names, files, isList }: Words): string {
  const offered = [
    ...(isList ? [`(__nodeos_list ${names.join(' ')})`] : names),
    ...(files === 'folder' ? ['(__fish_complete_directories)'] : []),
  ].join(' ');
  const list = offered === '' ? '' : `-a ${quoted(offered)}`;
  if (files === 'file') return ['-F', list].filter(Boolean).join(' ');
  return list === '' ? '' : `-f ${list}`;
}
