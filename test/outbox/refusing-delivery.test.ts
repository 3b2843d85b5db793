import { afterAll, describe, expect } from 'vitest'
import { outboxConformance } from '../conformance/outbox.ts'
import { refusals, refusingSql } from '../support/refusals.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

const refused = refusals(20_261_121, 12)
afterAll(() => expect(refused.count).toBeGreaterThan(0))

// No connection now and then, and one that ends within a transaction. The relay gets over it; who adds a message, or acts as
// the operator, is told, and asks again (`setup.ts`).
// What is refused depends on the order of calls, and so on time. A second try is named in the report.
describe('now and then', { retry: 1 }, () => {
  outboxConformance(() => refusingSql(embedded(), refused))
})
