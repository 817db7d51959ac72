/** Completion for zsh. https://zsh.sourceforge.io/Doc/Release/Completion-System.html (_arguments) */
import {
  nameOfAction,
  quoted,
  type Branch,
  type CompletedOption,
  type Leaf,
  type Operand,
  type Words,
} from './words.js';

export function zshScript(branches: readonly Branch[]): string {
  return [
    '#compdef nodeos',
    '# Completion of nodeos for zsh: eval "$(nodeos completion zsh)"; or as a file _nodeos in a folder of $fpath',
    ...branches.flatMap(functionsOf),
    ...dispatcher('_nodeos', 'command', branches),
    '# As a file of $fpath, this is the body of the function itself.',
    'if [[ $funcstack[1] == _nodeos ]]; then _nodeos "$@"; else compdef _nodeos nodeos; fi',
    '',
  ].join('\n');
}

function functionsOf({ name, leaves, isGroup }: Branch): string[] {
  const bodies = leaves.flatMap((leaf) => [
    `${functionName(leaf.path)}() {`,
    '  _arguments -s -S : \\',
    specsOf(leaf)
      .map((spec) => `    ${spec}`)
      .join(' \\\n'),
    '}',
  ]);
  const actions = leaves.map((leaf) => ({ name: nameOfAction(leaf), summary: leaf.summary }));
  return isGroup ? [...bodies, ...dispatcher(functionName([name]), 'action', actions)] : bodies;
}

const functionName = (path: readonly string[]): string => ['_nodeos', ...path].join('_');

/** A function that completes a name, and calls the function of that name for what follows. */
function dispatcher(own: string, kind: string, rows: readonly { name: string; summary: string }[]): string[] {
  return [
    `${own}() {`,
    '  local state line',
    '  typeset -A opt_args',
    `  _arguments -C '(- *)'{-h,--help}'[how it is used]' '1:${kind}:->first' '*::argument:->rest'`,
    '  case $state in',
    '    first)',
    '      local -a rows=(',
    ...rows.map(({ name, summary }) => `        ${quoted(`${name}:${summary}`)}`),
    '      )',
    `      _describe ${kind} rows ;;`,
    `    rest) (( $+functions[${own}_$line[1]] )) && ${own}_$line[1] ;;`,
    '  esac',
    '}',
  ];
}

const specsOf = ({ options, operands }: Leaf): string[] => [
  ...options.flatMap(optionSpecs),
  ...operands.map((operand, index) => operandSpec(operand, index)),
];

/** Escapes what ends a part of a specification. */
const escaped = (text: string): string => text.replace(/[\\:[\]]/g, '\\$&');

function optionSpecs({ name, short, help, isMultiple, value, words }: CompletedOption): string[] {
  const flags = [...(short === undefined ? [] : [`-${short}`]), `--${name}`];
  const before = isMultiple ? '*' : `(${flags.join(' ')})`;
  const after = value === undefined ? '' : `:${escaped(value)}:${actionFor(words)}`;
  // `+` and `=`: the value may be in the same word, or in the next.
  const suffix = (flag: string): string => (value === undefined ? '' : flag.startsWith('--') ? '=' : '+');
  return flags.map((flag) => quoted(`${before}${flag}${suffix(flag)}[${escaped(help)}]${after}`));
}

const operandSpec = ({ placeholder, words, isRepeated }: Operand, index: number): string =>
  quoted(`${isRepeated ? '*' : index + 1}:${isRepeated ? '' : ':'}${escaped(placeholder)}:${actionFor(words)}`);

function actionFor({ names, files, isList }: Words): string {
  const chooser = files === undefined ? undefined : files === 'file' ? '_files' : '_files -/';
  const list = names.join(' ');
  if (names.length === 0) return chooser ?? ' ';
  if (isList) return `_sequence compadd - ${list}`;
  return chooser === undefined ? `(${list})` : `{compadd - ${list}; ${chooser}}`;
}
