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
            'test/bin/**/*.test.ts',
          ],
          setupFiles: ['test/properties.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Each boots machines: one file at a time, so that two cores are enough.
        test: {
          name: 'system',
          include: ['test/{cli,boot,stream,toolchain,npm}/**/*.test.ts'],
          fileParallelism: false,
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
