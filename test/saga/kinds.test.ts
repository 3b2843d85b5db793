/** Guarantees of every kind of transaction on PGlite; the kinds that prepare are in `kinds.int.test.ts`. */
import { afterAll, describe } from 'vitest'
import { commandsOf, formOf } from './support/kinds-suite.ts'
import { closeEmbedded, embedded } from './support/world.ts'

describe('kinds of transaction', { timeout: 240_000 }, () => {
  const database = { sql: embedded(), prepared: () => Promise.resolve([]) }
  afterAll(closeEmbedded)
  for (const name of ['saga', 'tcc', 'tccInTransaction', 'undo'] as const)
    for (const way of ['message', 'http'] as const) describe(`${name}, ${way}`, () => commandsOf(name, database, way))
  for (const name of ['commanding', 'here', 'tcc', 'codeTcc', 'undo', 'codeUndo'] as const)
    describe(name, () => formOf(name, database))
  for (const name of ['commandingByHttp', 'tccByHttp', 'codeTccByHttp', 'undoByHttp'] as const)
    describe(name, () => formOf(name, database))
})
