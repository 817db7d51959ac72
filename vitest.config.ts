import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'packages/*/test/**/*.test.ts',
            '{kernel,initramfs,bootfs}/test/**/*.test.ts',
            'scripts/*/test/**/*.test.ts',
            'test/{bin,bench}/**/*.test.ts',
          ],
          setupFiles: ['test/properties.ts'],
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Each boots machines. Two files at a time: a machine waits as often as it computes.
        test: {
          name: 'system',
          include: ['test/{cli,boot,stream,toolchain,npm,linuxfs}/**/*.test.ts'],
          maxWorkers: 2,
          testTimeout: 180_000,
          hookTimeout: 3_600_000,
        },
      },
      {
        // npm run test:long: other targets, second builds.
        test: {
          name: 'long',
          include: ['test/{long,reproducible}/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 3_600_000,
          hookTimeout: 3_600_000,
        },
      },
    ],
  },
});
