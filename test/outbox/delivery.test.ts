import { outboxConformance } from '../conformance/outbox.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

outboxConformance(embedded)
