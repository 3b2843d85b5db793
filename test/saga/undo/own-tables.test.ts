// oxlint-disable no-restricted-imports -- inside of undo: the tables that it counts as its own
import { globSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { OWN_TABLES } from '../../../saga/undo/sql-functions.ts'

test('undo knows every table of this package by its name, so that no other one counts as ours', () => {
  const sources = globSync('{binder,bus,core,election,locks,operator,outbox,saga,service}/**/*.ts')
  const made = sources.flatMap((file) =>
    Array.from(
      readFileSync(file, 'utf8').matchAll(
        /CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?(?:\{schema\}|\$\{quoted\})\.(\w+)(?!\w*\$)/g,
      ),
    ),
  )
  const names = made.map(([, name = '']) => name).filter((name) => name !== 'transport_log_')
  expect([...new Set(names)].toSorted()).toEqual(OWN_TABLES.toSorted())
})
