import { describe, expect, it } from 'vitest';
import { boardOf, BOARDS, boardsOf, hostTarget, TARGETS, targetOf } from '../index.js';

const X86_64 = targetOf('x86_64');

describe('boards', () => {
  it('belong to a known target and have a unique name there', () => {
    for (const { target } of BOARDS) expect(() => targetOf(target)).not.toThrow();
    const names = BOARDS.map(({ target, name }) => `${target} ${name}`);
    expect(new Set(names).size).toBe(names.length);
  });

  it('are found by name; the first board is the default', () => {
    expect(boardOf(X86_64).name).toBe('q35');
    expect(boardOf(X86_64, 'microvm').name).toBe('microvm');
  });

  it.each(['pc', '', 'constructor', '__proto__'])('reject the unknown name %j', (name) => {
    expect(() => boardOf(X86_64, name)).toThrow(
      expect.objectContaining({ message: `x86_64 has no machine "${name}"`, hint: 'it has: q35, microvm' }),
    );
  });

  it('say why a Raspberry Pi 5 is not there', () => {
    expect(() => boardOf(targetOf('aarch64'), 'raspi5')).toThrow(/no machine raspi5 yet: .*Raspberry Pi 5.*RP1/);
  });

  it('do not exist for a target that has only a toolchain', () => {
    const riscv64 = targetOf('riscv64');
    expect(boardsOf(riscv64)).toEqual([]);
    expect(() => boardOf(riscv64)).toThrow('riscv64 has no machine');
  });
});

describe('targets', () => {
  it('have unique names', () => {
    expect(new Set(TARGETS.map(({ name }) => name)).size).toBe(TARGETS.length);
    expect(() => targetOf('vax')).toThrow('unknown target "vax"');
  });

  it('include one for this machine', () => {
    expect(hostTarget().nodeArch).toBe(process.arch);
  });
});
