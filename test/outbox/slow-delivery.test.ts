import { outboxConformance } from '../conformance/outbox.ts'
import { pauses, slowSql } from '../support/slow.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

// A database over a network: each statement and each commit takes up to a few milliseconds.
const pause = pauses(20_261_121, 3)
outboxConformance(() => slowSql(embedded(), pause))
