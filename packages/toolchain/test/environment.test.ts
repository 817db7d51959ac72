import { targetOf } from '@nodeos/targets';
import { describe, expect, it } from 'vitest';
import { cmakeFile, environmentOf, mesonFile } from '../environment.js';

describe('the environment', () => {
  const target = targetOf('x86_64');

  it('names the programs, and restricts the library search to the sysroot', () => {
    expect(environmentOf(target, '/t')).toMatchObject({
      CC: 'x86_64-linux-musl-gcc',
      PKG_CONFIG_SYSROOT_DIR: '/t/x86_64-linux-musl/sysroot',
      PKG_CONFIG_PATH: '',
      CMAKE_TOOLCHAIN_FILE: '/t/toolchain.cmake',
      npm_config_libc: 'musl',
    });
  });

  it('contains no absolute path in its files, so that the toolchain can be moved', () => {
    for (const text of [cmakeFile(target), mesonFile(target)]) {
      expect(text).toContain('x86_64-linux-musl-g++');
      expect(text).not.toMatch(/["' ]\//);
    }
  });
});
