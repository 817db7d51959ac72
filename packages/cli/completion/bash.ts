/** Completion for bash. https://www.gnu.org/software/bash/manual/html_node/Programmable-Completion.html */
import { nameOfAction, quoted, union, type Branch, type Leaf, type Words } from './words.js';

/** The functions that a generated line calls. Only what bash 3.2 has, so that it works on macOS too. */
const FUNCTIONS = String.raw`
_nodeos_add() {
  local word
  while IFS= read -r word; do COMPREPLY+=("$word"); done
}
_nodeos_names() { _nodeos_add < <(compgen -W "$1" -- "$current"); }
_nodeos_files() {
  compopt -o filenames 2> /dev/null
  _nodeos_add < <(compgen -f -- "$current")
}
_nodeos_folders() {
  compopt -o filenames 2> /dev/null
  _nodeos_add < <(compgen -d -- "$current")
}
# Names with commas between them.
_nodeos_list() {
  local before=''
  [[ $current == *,* ]] && before="${'$'}{current%,*},"
  compopt -o nospace 2> /dev/null
  _nodeos_add < <(compgen -P "$before" -W "$1" -- "${'$'}{current##*,}")
}`.trim();

/** The lines between the cases find out where the cursor is. */
export function bashScript(branches: readonly Branch[]): string {
  const leaves = branches.flatMap((branch) => branch.leaves);
  const groups = branches.filter(({ isGroup }) => isGroup);
  const actions = groups.map(({ name, leaves }) => [name, `_nodeos_names ${list(leaves.map(nameOfAction))}`]);
  return [
    '# Completion of nodeos for bash: eval "$(nodeos completion bash)"',
    FUNCTIONS,
    '_nodeos() {',
    '  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD - 1]}"',
    '  local command="${COMP_WORDS[1]}" first=2 i',
    '  COMPREPLY=()',
    `  if ((COMP_CWORD == 1)); then _nodeos_names ${list([...branches.map(({ name }) => name), '--help'])}; return; fi`,
    `  case "$command" in ${groups.map(({ name }) => name).join('|')})`,
    '    if ((COMP_CWORD == 2)); then',
    ...caseOf('"$command"', actions as [string, string][], '      '),
    '      return',
    '    fi',
    '    command+=" ${COMP_WORDS[2]}" first=3 ;;',
    '  esac',
    '  # After -- comes another program.',
    '  for ((i = first; i < COMP_CWORD; i++)); do',
    '    if [[ ${COMP_WORDS[i]} == -- ]]; then _nodeos_files; return; fi',
    '  done',
    '  # bash splits --option=value into three words.',
    "  if [[ $current == = ]]; then current=''",
    '  elif [[ $previous == = ]]; then previous="${COMP_WORDS[COMP_CWORD - 2]}"; fi',
    ...caseOf('"$command $previous"', leaves.flatMap(valueRows), '  ', '; return'),
    '  if [[ $current == -* ]]; then',
    ...caseOf('"$command"', leaves.map(optionRow), '    '),
    '    return',
    '  fi',
    ...caseOf('"$command"', leaves.map(operandRow), '  '),
    '}',
    'complete -F _nodeos nodeos',
    '',
  ].join('\n');
}

const list = (names: readonly string[]): string => quoted(names.join(' '));

/** A case statement. Rows with the same action become one. */
function caseOf(subject: string, rows: readonly [string, string][], indent: string, after = ''): string[] {
  const byAction = new Map<string, string[]>();
  for (const [pattern, action] of rows) byAction.set(action, [...(byAction.get(action) ?? []), quoted(pattern)]);
  const lines = [...byAction].map(([action, patterns]) => `${indent}  ${patterns.join('|')}) ${action}${after} ;;`);
  return [`${indent}case ${subject} in`, ...lines, `${indent}esac`];
}

/** The calls that offer words. `:` offers nothing. */
function callsFor({ names, files, isList }: Words): string {
  const calls = [
    ...(names.length > 0 ? [`${isList ? '_nodeos_list' : '_nodeos_names'} ${list(names)}`] : []),
    ...(files === undefined ? [] : [files === 'file' ? '_nodeos_files' : '_nodeos_folders']),
  ];
  return calls.length > 0 ? calls.join('; ') : ':';
}

function valueRows({ path, options }: Leaf): [string, string][] {
  return options
    .filter(({ value }) => value !== undefined)
    .flatMap(({ name, short, words }) =>
      [`--${name}`, ...(short === undefined ? [] : [`-${short}`])].map((flag): [string, string] => [
        `${path.join(' ')} ${flag}`,
        callsFor(words),
      ]),
    );
}

const optionRow = ({ path, options }: Leaf): [string, string] => [
  path.join(' '),
  `_nodeos_names ${list(options.flatMap(({ name, short }) => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])]))}`,
];

const operandRow = ({ path, operands }: Leaf): [string, string] => [
  path.join(' '),
  callsFor(union(operands.map(({ words }) => words))),
];
