/**
 * Guarantees of every kind of transaction whose participant is in the process that coordinates, and dies with it: on
 * PGlite.
 */
import { afterAll, describe } from 'vitest'
import { formOf } from './support/kinds-suite.ts'
import { closeEmbedded, embedded } from './support/world.ts'

describe('kinds of transaction within one process', { timeout: 240_000 }, () => {
  const database = { sql: embedded(), prepared: () => Promise.resolve([]) }
  afterAll(closeEmbedded)
  for (const name of ['commandingLocal', 'tccLocal', 'undoLocal'] as const) {
    describe(name, () => formOf(name, database))
  }
})
