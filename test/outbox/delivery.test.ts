import { afterAll } from 'vitest'
import { outboxConformance } from '../conformance/outbox.ts'
import { closeEmbedded, embedded } from './support/pglite.ts'

afterAll(closeEmbedded)

outboxConformance(embedded)
