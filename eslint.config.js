import js from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['**/dist/**', 'out/**', '**/node_modules/**', 'packages/create-nodeos/templates/**', '**/*.d.ts'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: {
        project: [
          'tsconfig.test.json',
          'packages/*/tsconfig.json',
          '{kernel,initramfs,bootfs}/tsconfig.json',
          'scripts/*/tsconfig.json',
        ],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': 'off',
    },
  },
  {
    // expect.arrayContaining() and its like are of type any
    files: ['**/test/**/*.ts', 'test/**/*.ts'],
    rules: { '@typescript-eslint/no-unsafe-assignment': 'off' },
  },
  {
    files: ['**/*.js', 'bin/*', 'examples/**/*.js'],
    languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly', setTimeout: 'readonly', AbortController: 'readonly' } }, // prettier-ignore
  },
  {
    files: ['test/toolchain/probe.js'],
    languageOptions: { globals: { Atomics: 'readonly', Intl: 'readonly', SharedArrayBuffer: 'readonly', TextDecoder: 'readonly' } }, // prettier-ignore
  },
);
