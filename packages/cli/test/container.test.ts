/** What holds for a container if the command line says nothing. */
import { describe, expect, it } from 'vitest';
import { isForTerminal, publishedPorts } from '../container/defaults.js';
import { isImage } from '../container/options.js';

describe('a container', () => {
  it.each([
    ['docker://debian:12', true],
    ['oci:folder:name', true],
    ['oci-archive:a.tar', true],
    ['docker-archive:a.tar', true],
    ['examples/hello', false],
    ['./oci:odd', false],
    ['docker:debian', false],
    [undefined, false],
  ])('is what %s names: %s', (operand, expected) => {
    expect(isImage(operand)).toBe(expected);
  });

  it.each<[string, { Entrypoint?: string[]; Cmd?: string[] }, Parameters<typeof isForTerminal>[1], boolean]>([
    ['a shell', { Cmd: ['bash'] }, {}, true],
    ['a shell by its path', { Cmd: ['/bin/sh'] }, {}, true],
    ['an interpreter behind an entry point', { Entrypoint: ['entrypoint.sh'], Cmd: ['node'] }, {}, true],
    ['a version in the name', { Cmd: ['python3.12'] }, {}, true],
    ['an entry point alone', { Entrypoint: ['sh'] }, {}, true],
    ['a shell that is asked for', { Cmd: ['nginx'] }, { command: ['sh'] }, true],
    ['a shell in place of the entry point', { Entrypoint: ['x'], Cmd: ['y'] }, { entrypoint: 'sh' }, true],
    ['a script', { Cmd: ['sh', '-c', 'x'] }, {}, false],
    ['a server', { Cmd: ['nginx'] }, {}, false],
    ['another command', { Cmd: ['bash'] }, { command: ['apt-get', 'install', 'bash'] }, false],
    ['nothing', {}, {}, false],
  ])('is on the terminal, or not, for %s', (_, { Entrypoint = [], Cmd = [] }, options, expected) => {
    expect(isForTerminal({ Entrypoint, Cmd }, options)).toBe(expected);
  });

  it('publishes what it exposes, low ports 8000 higher', () => {
    const published = publishedPorts({ ExposedPorts: ['80/tcp', '53/udp', '6379'] }, 'it');
    expect(published.map(({ host, guest, protocol }) => `${host}:${guest}/${protocol}`)).toEqual([
      '8080:80/tcp',
      '8053:53/udp',
      '6379:6379/tcp',
    ]);
    const many = { ExposedPorts: Array.from({ length: 101 }, (_, index) => String(2000 + index)) };
    expect(() => publishedPorts(many, 'it')).toThrow(/exposes 101 ports/);
  });
});
