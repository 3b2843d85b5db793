import { afterAll, beforeAll, describe } from 'vitest'
import { undoConflictsSuite } from '../support/undo-conflicts.ts'
import { undoOrdinarySuite } from '../support/undo-ordinary.ts'
import { undoProtectSuite } from '../support/undo-protect.ts'
import { undoSuite } from '../support/undo-suite.ts'
import { undoWorld } from '../support/undo-world.ts'
import { undoWritersSuite } from '../support/undo-writers.ts'
import { closeEmbedded, embedded } from '../support/world.ts'

const world = undoWorld(embedded(), 'undo_suite')

beforeAll(() => world.ready(), 120_000)
afterAll(closeEmbedded)

describe('rows that are undone, in PGlite', () => undoSuite(() => world))
describe('writers, in PGlite', () => undoWritersSuite(() => world))
describe('conflicts, in PGlite', () => undoConflictsSuite(() => world))
describe('tables, in PGlite', () => undoProtectSuite(() => world))
describe('ordinary schemas, in PGlite', () => undoOrdinarySuite(() => world))
