/**
 * A coordinator, a participant that it calls by HTTP, and between them a gateway that treats each request as a network,
 * a proxy or a stranger would.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger, SqlClient } from 'concordat/core'
import { toNode } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { defineSaga, migrateParticipant } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { httpParticipants, httpTarget } from 'concordat/saga/http'
import { type TccHandlers, tccParticipant } from 'concordat/saga/tcc'
import { z } from 'zod'
import type { CoordinatorOptions, HttpParticipantsOptions, HttpTargetOptions } from '../../support/inside/saga.ts'
import { bankCommands, type Move } from './bank.ts'
import { serveNode } from './http-side.ts'
import { embedded, FAST } from './world.ts'

/** Does something about a request; `pass` gives it to the participant and writes its answer. */
export type Gate = (
  request: IncomingMessage & { readonly operation: string },
  response: ServerResponse,
  pass: () => void,
) => void

export interface HttpWorldOptions {
  readonly handlers?: Partial<TccHandlers<Move>>
  readonly gate?: Gate
  readonly target?: Partial<HttpTargetOptions>
  readonly step?: { readonly timeoutMs?: number; readonly retry?: object }
  readonly server?: Partial<HttpParticipantsOptions>
  readonly coordinator?: Partial<CoordinatorOptions>
}

/** A machine that is slow is no answer, and no failure: no limit of their own. */
const retry = FAST
let count = 0

export async function openHttpWorld(options: HttpWorldOptions = {}) {
  const sql = embedded()
  const run = `ht_${++count}`
  const calls: string[] = []
  const bank = `${run}_bank`
  await migrateParticipant(sql, bank)
  const participant = toNode(
    httpParticipants([bankSide(options.handlers ?? {}, calls)], {
      authorize: 'none',
      sql,
      schema: bank,
      ...options.server,
    }),
  )
  const seen: string[] = []
  const gateway = await serveNode((request, response) => {
    const operation = String(request.headers['saga-operation'])
    seen.push(`${operation} ${String(request.headers['saga-attempt'])}`)
    const pass = (): void => participant(request, response)
    if (options.gate === undefined) pass()
    else options.gate(Object.assign(request, { operation }), response, pass)
  })
  const to = httpTarget(bankCommands, { url: gateway.url, retry: FAST, ...options.target })
  const quick = { retry, compensationRetry: retry, confirmRetry: retry, timeoutMs: 2_000, ...options.step }
  const move = defineBranch('move', { to, ...quick })
  const transfer = defineGlobalTransaction('transfer', { input: z.object({}), branches: [move], timeoutMs: 20_000 })
  const saga = defineSaga('pay', { version: 1, input: z.object({ account: z.string() }) })
    .tcc('move', { to, ...quick, request: ({ input }) => ({ account: input.account, cents: 5 }) })
    .step('decide', { pivot: true, invoke: () => {} })
  const outbox = createOutbox({ sql, service: 'front', schema: run, partitions: 1 })
  await outbox.migrate()
  const coordinate = (more: Partial<CoordinatorOptions> = {}): Coordinator =>
    createCoordinator({
      service: 'front',
      sql,
      outbox,
      schema: run,
      sagas: [transfer, saga],
      pollMs: 20,
      ...options.coordinator,
      ...more,
    })
  const coordinator = coordinate()
  await coordinator.migrate()
  await coordinator.run()
  return {
    sql,
    run,
    bank,
    url: gateway.url,
    gateway,
    coordinator,
    coordinate,
    saga,
    move,
    transfer,
    /** Calls of the participant's functions. */
    calls,
    /** Requests to the gateway. */
    seen,
    [Symbol.asyncDispose]: async () => {
      await coordinator.close()
      await gateway.close()
    },
  }
}

export type HttpWorld = Awaited<ReturnType<typeof openHttpWorld>>

export function bankSide(handlers: Partial<TccHandlers<Move>>, calls: string[]) {
  return tccParticipant(
    bankCommands,
    { group: 'bank' },
    {
      try: async (move: Move, context) => {
        calls.push(`try ${move.account}`)
        return (await handlers.try?.(move, context)) ?? { held: move.cents }
      },
      confirm: async (move: Move, context) => {
        calls.push(`confirm ${move.account}`)
        await handlers.confirm?.(move, context)
      },
      cancel: async (move: Move, context) => {
        calls.push(`cancel ${move.account} ${context.tried}`)
        await handlers.cancel?.(move, context)
      },
    },
  )
}

/** Keeps each line as JSON. */
export function keepingLogger(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = []
  const keep = (fields: unknown, message: string): void => {
    const flat = (_: string, value: unknown): unknown =>
      value instanceof Error ? { message: value.message, stack: value.stack, cause: value.cause } : value
    lines.push(`${message} ${JSON.stringify(fields, flat)}`)
  }
  return { lines, logger: { debug: keep, info: keep, warn: keep, error: keep } }
}

export async function outcomeOf({ coordinator, saga }: HttpWorld, id: string) {
  const run = await coordinator.start(saga, { id, input: { account: id } })
  return run.outcome({ timeoutMs: 20_000 })
}

export async function countOf(sql: SqlClient, table: string): Promise<number> {
  const { rows } = await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`)
  return rows[0]?.n ?? Number.NaN
}
