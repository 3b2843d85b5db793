import { defineConfig } from 'vitest/config'

// No 'import' among them: vitest hands these to Node, where it would make a CommonJS driver `require` ES modules.
const conditions = ['concordat-source', 'node']
const source = { ssr: { resolve: { conditions } }, resolve: { conditions } }

// kafkajs arms a negative timer for each connection, which Node 24 prints a warning about.
const execArgv = ['--disable-warning=TimeoutNegativeWarning']

/** unit: no network. int: real servers (found or started, see test/support/servers). types: type tests only. */
export default defineConfig({
  ...source,
  test: {
    projects: [
      {
        ...source,
        test: {
          name: 'unit',
          execArgv,
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.int.test.ts'],
          testTimeout: 30_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
          maxConcurrency: 2,
        },
      },
      {
        ...source,
        test: {
          name: 'int',
          execArgv,
          include: ['test/**/*.int.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          // Servers, processes and clocks of a shared machine stall at times. The second try is named in the report.
          retry: 1,
          fileParallelism: false,
          globalSetup: ['test/support/servers/global-setup.ts'],
        },
      },
      {
        ...source,
        test: {
          name: 'types',
          include: [],
          typecheck: { enabled: true, only: true, include: ['test/**/*.test-d.ts'], tsconfig: './tsconfig.json' },
        },
      },
    ],
  },
})
