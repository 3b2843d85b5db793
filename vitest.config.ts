import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/suite/order.ts'
import { filesOf, type SuiteProject } from './test/support/suite/projects.ts'
import { chosenFiles } from './test/support/suite/quick.ts'

// No 'import' among them: vitest hands these to Node, where it would make a CommonJS driver `require` ES modules.
const conditions = ['concordat-source', 'node']
export const source = { ssr: { resolve: { conditions } }, resolve: { conditions } }

// kafkajs arms a negative timer for each connection, which Node 24 prints a warning about.
const execArgv = ['--disable-warning=TimeoutNegativeWarning']

// What Node has compiled once it need not compile in each of a thousand processes: workers, and what tests start.
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('.cache/compile', import.meta.url))

/** In `.ci/run` alone: a test gets a second try, which is named in the report. Random inputs get none: they would differ. */
const secondTry = process.env['CONCORDAT_SECOND_TRY'] === '1' ? 1 : 0

/** Servers whose addresses are given are there once, so nothing runs beside each other on them. */
const addresses = ['POSTGRES_URL', 'REDIS_URL', 'RABBITMQ_URL', 'KAFKA_BROKERS', 'MARIADB_URL']
const intWorkers = addresses.some((name) => process.env[name]) ? 1 : 3

/** Makes the copy of an empty database that they begin with. */
const globalSetup = ['test/support/pglite-setup.ts']
const preload = (name: string): string => `--import=${new URL(`test/support/${name}`, import.meta.url).href}`
const preloads = [preload('pglite-begun.ts'), preload('wasm-baseline.ts')]
/** For workers of one file, and for the processes that they start. */
const begun = {
  globalSetup: [...globalSetup, 'test/support/suite/run-folder.ts'],
  execArgv: [...execArgv, ...preloads],
  env: { NODE_OPTIONS: [process.env['NODE_OPTIONS'] ?? '', ...preloads].join(' ').trim() },
}

/** One process for many files: most of the time of a short file is the import of what it tests. The long ones wait. */
const kept = { isolate: false, maxWorkers: 6, setupFiles: ['test/support/suite/leftovers.ts'] }

/** These open databases one after the other. */
const opened = { globalSetup, execArgv: [...execArgv, preload('pglite-begun.ts')], maxWorkers: 3 }

/** The test files of a project. */
type Files = (project: SuiteProject) => string[]

const inProcess = (name: SuiteProject, files: Files, options: object) => ({
  ...source,
  test: {
    name,
    execArgv,
    include: files(name),
    // In `.ci/run` they have what the tests on servers leave of two cores.
    testTimeout: 90_000,
    hookTimeout: 120_000,
    maxWorkers: 3,
    maxConcurrency: 2,
    ...options,
  },
})

/** Files that need servers. */
export const onServers = {
  ...begun,
  testTimeout: 300_000,
  hookTimeout: 300_000,
  // Servers, processes and clocks of a shared machine stall at times. The second try is named in the report.
  retry: 1,
  // They wait more than they work. Each worker has servers of its own: test/support/servers/global-setup.ts.
  maxWorkers: intWorkers,
  globalSetup: [...begun.globalSetup, 'test/support/servers/global-setup.ts'],
}

/** test/support/suite/projects.ts lists the files of a project, quick.ts those that `npm test` runs. The compiler checks type tests. */
export default defineConfig(({ mode }) => {
  const choose = chosenFiles(mode)
  const files: Files = (project) => [...choose(filesOf(project))]
  return {
    ...source,
    test: {
      sequence: { sequencer: LongestFirst },
      // Parts without a `logger` warn on stderr; here most failures are made on purpose. Tests of what is said look at it themselves.
      onConsoleLog: (line: string) => !/^\S+Z (?:WARN|ERROR) concordat: /.test(line),
      projects: [
        // First, since a single worker leaves a core to the tests on servers, which `.ci/run` begins at the same time.
        inProcess('browser', files, { ...opened, retry: secondTry, maxWorkers: 1, sequence: { groupOrder: 0 } }),
        inProcess('unit', files, { ...kept, retry: secondTry, sequence: { groupOrder: 1 } }),
        inProcess('prop', files, { ...kept, globalSetup, sequence: { groupOrder: 1 } }),
        inProcess('pglite', files, { ...kept, ...opened, retry: secondTry, sequence: { groupOrder: 2 } }),
        inProcess('local', files, { ...begun, retry: secondTry, sequence: { groupOrder: 2 } }),
        { ...source, test: { ...onServers, name: 'int', include: files('int'), sequence: { groupOrder: 3 } } },
      ],
    },
  }
})
