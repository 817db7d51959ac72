/** What holds for a container if the command line says nothing: its terminal, and its ports. */
import { UsageError } from '@nodeos/base';
import { exposedPorts, type Execution, type ProcessOptions } from '@nodeos/oci';
import { parsePublish, type Publish } from '@nodeos/vm';

/** Programs that talk with a person if they are started without arguments. */
const INTERACTIVE =
  /^(?:sh|bash|ash|dash|zsh|fish|ksh|python[\d.]*|pypy[\d.]*|node|irb|ghci|lua[\d.]*|julia|R|jshell|iex|erl|sqlite3)$/;

/** Whether the program is for a terminal: a shell or an interpreter without arguments, perhaps behind an entry point. */
export function isForTerminal(
  { Entrypoint, Cmd }: Pick<Execution, 'Entrypoint' | 'Cmd'>,
  { entrypoint, command }: ProcessOptions,
): boolean {
  const first = entrypoint === undefined ? Entrypoint : [entrypoint].filter((name) => name !== '');
  const rest = command ?? (entrypoint === undefined ? Cmd : []);
  const words = rest.length > 0 ? rest : first;
  return words.length === 1 && INTERACTIVE.test((words[0] ?? '').replace(/^.*\//, ''));
}

/** Ports below this one are published 8000 higher: on many hosts only root may listen on them. */
const FIRST_FREE = 1024;
const MOST_PORTS = 100;

/** What is published of an image's ports if the command line says nothing. @throws UsageError if they are too many */
export function publishedPorts(config: Pick<Execution, 'ExposedPorts'>, name: string): Publish[] {
  const ports = exposedPorts(config);
  if (ports.length > MOST_PORTS)
    throw new UsageError(
      `${name} exposes ${ports.length} ports; at most ${MOST_PORTS} are published without being named`,
      {
        hint: 'name those that are needed: --publish HOST:GUEST, again for more; or --no-network',
      },
    );
  return ports.map(({ port, protocol }) =>
    parsePublish(`${port < FIRST_FREE ? port + 8000 : port}:${port}/${protocol}`),
  );
}
