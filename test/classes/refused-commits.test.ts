/** A participant whose database refuses the commit never answers that the step is done, however its commands reach it. */
import { defineChannel, type SinkBinding } from 'concordat/binder'
import { createOutbox } from 'concordat/outbox'
import { localTarget, migrateParticipant, type ParticipantContext, participant } from 'concordat/saga'
import { httpParticipants, httpTarget } from 'concordat/saga/http'
import { tccParticipant } from 'concordat/saga/tcc'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { askTarget, commandHeaders, deliver, takeReplies } from '../saga/support/delivery.ts'
import { closeEmbedded, embedded, openEmbedded } from '../saga/support/world.ts'
import type { Operation } from '../support/inside/saga.ts'

const KINDS = ['command', 'tcc'] as const
const EFFECTS = ['anywhere', 'tx'] as const
const WAYS = ['message', 'localTarget', 'httpTarget'] as const
type Kind = (typeof KINDS)[number]
type Way = (typeof WAYS)[number]

const commands = defineChannel('seat.commands', { payload: z.object({}) })
let runs = 0

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)

async function setup(kind: Kind, effects: (typeof EFFECTS)[number], way: Way) {
  const schema = `refused_${Date.now().toString(36)}_${++runs}`
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'seats', schema, partitions: 1 })
  await outbox.migrate()
  await migrateParticipant(sql, schema)
  // PostgreSQL checks it at the commit, when the handler has returned and the answer is made.
  await sql.query(`CREATE TABLE ${schema}.seat (n int UNIQUE DEFERRABLE INITIALLY DEFERRED, by text)`)
  await sql.query(`INSERT INTO ${schema}.seat VALUES (1, 'another')`)
  const take = async (_: object, { tx, sagaId }: ParticipantContext): Promise<void> =>
    void (await tx.query(`INSERT INTO ${schema}.seat VALUES (1, $1)`, [sagaId]))
  const options = { group: 'seats', effects, ...(way === 'message' && { sql, outbox, schema }) }
  const side =
    kind === 'command'
      ? participant(commands, options, { invoke: take, compensate: () => {} })
      : tccParticipant(commands, options, { try: take, confirm: () => {}, cancel: () => {} })
  const ask = asking(way, side, schema)
  const seats = async (): Promise<readonly string[]> =>
    (await sql.query<{ by: string }>(`SELECT by FROM ${schema}.seat`)).rows.map(({ by }) => by)
  const free = () => sql.query(`DELETE FROM ${schema}.seat`)
  const send = (operation: Operation, attempt = 1) =>
    ask({ ...commandHeaders('s', operation, attempt), ...(kind === 'tcc' && { 'saga-kind': 'tcc' }) })
  return { send, seats, free }
}

/** Sends a command by this way. @returns the status that is answered */
function asking(way: Way, side: SinkBinding, schema: string) {
  const sql = embedded()
  if (way === 'message')
    return async (headers: ReturnType<typeof commandHeaders>) => {
      await deliver(side, {}, headers)
      return (await takeReplies(sql, schema)).at(-1)?.status
    }
  const serve = httpParticipants([side], { sql, schema, authorize: 'none' })
  const fetch = async (url: Parameters<typeof globalThis.fetch>[0], init?: RequestInit) => serve(new Request(url, init))
  const target =
    way === 'localTarget'
      ? localTarget(commands, side, { sql, schema })
      : httpTarget(commands, { url: 'http://seats.test', fetch })
  return async (headers: ReturnType<typeof commandHeaders>) => {
    const answer = await askTarget(target, {}, headers)
    return 'reply' in answer ? answer.reply.status : 'none'
  }
}

const cases = KINDS.flatMap((kind) => EFFECTS.flatMap((effects) => WAYS.map((way) => ({ kind, effects, way }))))

test.each(cases)(
  'a $kind by $way with effects $effects whose commit is refused is answered as failed, and is done when it is asked again',
  async ({ kind, effects, way }) => {
    const { send, seats, free } = await setup(kind, effects, way)
    expect(await send('invoke')).toBe('failed')
    expect(await seats()).toEqual(['another'])
    await free()
    const again = await send('invoke', 2)
    expect([again, await seats()]).toEqual(['ok', ['s']])
  },
)
