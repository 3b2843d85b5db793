import { globSync } from 'node:fs'
import { expect, test } from 'vitest'
import { filesOf, type SuiteProject } from './projects.ts'

const all: readonly SuiteProject[] = ['unit', 'prop', 'pglite', 'local', 'int', 'release', 'engine', 'browser']

test('each test file belongs to one project', () => {
  const files = all.flatMap((project) => filesOf(project))
  expect(files.toSorted()).toEqual(globSync('test/**/*.test.ts').toSorted())
})

test.each([
  ['test/core/errors.test.ts', 'unit'],
  ['test/core/codec.prop.test.ts', 'prop'],
  ['test/outbox/message-mapping.prop.test.ts', 'prop'],
  ['test/core/pg.int.test.ts', 'int'],
  ['test/operate/console/page.browser.test.ts', 'browser'],
  ['test/faults/mistakes.release.test.ts', 'release'],
  ['test/support/servers/containers.engine.test.ts', 'engine'],
  // PGlite and a process, each by the file itself; then PGlite by a helper of a helper, and both.
  ['test/core/pglite.test.ts', 'pglite'],
  ['test/ci/summary.test.ts', 'local'],
  ['test/saga/coordinator/lifecycle.test.ts', 'pglite'],
  ['test/operate/migrations.test.ts', 'local'],
  // Installs what reads every public name.
  ['test/house/reference.test.ts', 'local'],
  // Measures the memory of its process.
  ['test/examples/order-payment/intake/lines.test.ts', 'local'],
] as const)('%s is of the project %s', (file, project) => {
  expect(all.filter((each) => filesOf(each, [file]).length > 0)).toEqual([project])
})
