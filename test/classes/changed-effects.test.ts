/**
 * A release that changes where a participant has its effects (`effects`) undoes possible effects of the previous one.
 */
import type { Headers, SinkBinding } from 'concordat/binder'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant, participant, Refusal } from 'concordat/saga'
import { tccParticipant } from 'concordat/saga/tcc'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { commandHeaders, deliver, takeReplies } from '../saga/support/delivery.ts'
import { closeEmbedded, embedded, FAST, openEmbedded, stockCommands } from '../saga/support/world.ts'
import type { Operation } from '../support/inside/saga.ts'

const sql = embedded()
const schema = 'changed_effects'
const outbox = createOutbox({ sql, service: 'stock', schema, partitions: 1 })
const KINDS = ['participant', 'tccParticipant'] as const
const EFFECTS = ['anywhere', 'tx'] as const
type Kind = (typeof KINDS)[number]
let ids = 0

beforeAll(async () => {
  await openEmbedded()
  await outbox.migrate()
  await migrateParticipant(sql, schema)
}, 120_000)
afterAll(closeEmbedded)

/**
 * Outcomes of a handler call. `dies`: the process dies before the outcome is recorded; an outside effect may have
 * happened.
 */
const CALLS = {
  dies: () => Promise.reject(new Error('gone')),
  fails: () => Promise.reject(new Error('down')),
  refuses: () => Promise.reject(new Refusal('stock.none', 'sold out')),
  works: () => Promise.resolve(),
} as const
type Call = keyof typeof CALLS

function release(kind: Kind, effects: (typeof EFFECTS)[number], call: Call, undone: string[]): SinkBinding {
  const options = { group: 'stock', sql, outbox, schema, effects, backoff: FAST, maxAttempts: 2 } as const
  const undo = (): void => void undone.push('undone')
  return kind === 'participant'
    ? participant(stockCommands, options, { invoke: CALLS[call], compensate: undo })
    : tccParticipant(stockCommands, options, { try: CALLS[call], confirm: () => {}, cancel: undo })
}

const cases = KINDS.flatMap((kind) =>
  (
    [
      ['anywhere', 'dies', 'tx', 'fails', true],
      ['anywhere', 'dies', 'tx', 'refuses', true],
      ['anywhere', 'dies', 'tx', 'works', true],
      ['anywhere', 'fails', 'tx', 'fails', true],
      ['anywhere', 'fails', 'tx', 'refuses', true],
      ['anywhere', 'refuses', 'tx', 'refuses', false],
      ['tx', 'fails', 'anywhere', 'dies', true],
      ['tx', 'fails', 'anywhere', 'fails', true],
      ['tx', 'fails', 'anywhere', 'refuses', false],
      ['tx', 'fails', 'tx', 'fails', false],
      ['tx', 'fails', 'tx', 'refuses', false],
    ] as const
  ).map(([before, first, after, next, isUndone]) => ({ kind, before, first, after, next, isUndone })),
)

test.each(cases)('$kind: $before $first, then $after $next', async ({ kind, before, first, after, next, isUndone }) => {
  const id = `c${++ids}`
  const undone: string[] = []
  const ask = async (binding: SinkBinding, operation: Operation, call: Call): Promise<string | undefined> => {
    const headers: Headers = {
      ...commandHeaders(id, operation),
      ...(kind === 'tccParticipant' && { 'saga-kind': 'tcc' }),
    }
    const asked = deliver(binding, { sku: id, n: 1 }, headers, call === 'dies' ? 1 : 2)
    await (call === 'dies' ? asked.catch(() => {}) : asked)
    return (await takeReplies(sql, schema)).at(-1)?.status
  }
  await ask(release(kind, before, first, undone), 'invoke', first)
  const said = await ask(release(kind, after, next, undone), 'invoke', next)
  if (isUndone && next === 'refuses') expect(said).toBe('failed')
  expect(await ask(release(kind, after, 'works', undone), 'compensate', 'works')).toBe('ok')
  expect(undone).toEqual(isUndone ? ['undone'] : [])
})
