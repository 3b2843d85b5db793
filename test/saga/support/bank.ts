/** A service that runs global transactions and a bank that is their participant, over the memory transport. */
import { createBinder, defineChannel } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import { migrateParticipant, sagaReplies } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { type TccHandlers, tccParticipant } from 'concordat/saga/tcc'
import { z } from 'zod'
import type { BindingControl } from '../../support/inside/binder.ts'
import type { CoordinatorOptions } from '../../support/inside/saga.ts'
import { embedded, FAST } from './world.ts'

export interface Move {
  readonly account: string
  readonly cents: number
}

export const bankCommands = defineChannel('bank.commands', {
  payload: z.object({ account: z.string(), cents: z.number() }),
})
const retry = { maxAttempts: 2, ...FAST }
export const withdraw = defineBranch('withdraw', {
  to: bankCommands,
  reply: z.object({ held: z.number() }),
  confirmRetry: retry,
})
/** Retried soon and forever without an answer: a machine that is slow is not an answer. */
export const deposit = defineBranch('deposit', {
  to: bankCommands,
  retry: FAST,
  compensationRetry: FAST,
  timeoutMs: 300,
})
export const transfer = defineGlobalTransaction('transfer', {
  input: z.object({ cents: z.number() }),
  branches: [withdraw, deposit],
  timeoutMs: 25_000,
})
export const input = { cents: 5 }

export interface BankWorld extends AsyncDisposable {
  readonly sql: SqlClient
  /** The coordinator's schema. */
  readonly run: string
  readonly coordinator: Coordinator
  /** Creates another coordinator on the same tables, without a binder: not running yet, to be closed by its caller. */
  readonly coordinate: (more?: Partial<CoordinatorOptions>) => Coordinator
  /** Calls of the bank, in order. */
  readonly calls: string[]
  /** The participant's binding. */
  readonly bank: () => BindingControl
}

let count = 0

export async function openBank(
  handlers: Partial<TccHandlers<Move>> = {},
  options: Partial<CoordinatorOptions> = {},
): Promise<BankWorld> {
  const sql = embedded()
  const run = `gt_${++count}`
  const calls: string[] = []
  const outbox = createOutbox({ sql, service: 'front', schema: run, partitions: 1 })
  const bankOutbox = createOutbox({ sql, service: 'bank', schema: `${run}_bank`, partitions: 1 })
  const bank = participantOf(handlers, calls, { sql, outbox: bankOutbox, schema: `${run}_bank` })
  await outbox.migrate()
  await bankOutbox.migrate()
  await migrateParticipant(sql, `${run}_bank`)
  const coordinate = (more: Partial<CoordinatorOptions> = {}): Coordinator => {
    const own = { service: 'front', sql, outbox, schema: run, sagas: [transfer], pollMs: 50 }
    return createCoordinator({ ...own, ...options, ...more })
  }
  const coordinator = coordinate()
  await coordinator.migrate()
  const broker = memoryBroker()
  const transport = () => memoryTransport({ broker })
  const { bindings, channels } = coordinator
  const front = createBinder({ service: 'front', transport: transport(), bindings, sends: channels })
  const sends = [sagaReplies('front')]
  const other = createBinder({ service: 'bank', transport: transport(), bindings: [bank], sends })
  const relays = [
    createRelay({ outbox, publisher: front, idlePollMs: 10 }),
    createRelay({ outbox: bankOutbox, publisher: other, idlePollMs: 10 }),
  ]
  await Promise.all([front.start(), other.start()])
  await Promise.all(relays.map((relay) => relay.start()))
  await coordinator.run()
  return {
    sql,
    run,
    coordinator,
    coordinate,
    calls,
    bank: () => other.binding('bank.commands.bank'),
    [Symbol.asyncDispose]: async () => {
      await coordinator.close()
      await Promise.all(relays.map((relay) => relay.close()))
      await Promise.all([front.close(), other.close()])
    },
  }
}

function participantOf(
  handlers: Partial<TccHandlers<Move>>,
  calls: string[],
  side: Pick<CoordinatorOptions, 'sql'> & { readonly outbox: ReturnType<typeof createOutbox>; readonly schema: string },
) {
  return tccParticipant(
    bankCommands,
    { group: 'bank', backoff: FAST, maxAttempts: 2, ...side },
    {
      try: (move: Move, context) => {
        calls.push(`try ${move.account}`)
        return handlers.try?.(move, context) ?? { held: move.cents }
      },
      confirm: (move: Move, context) => {
        calls.push(`confirm ${move.account}`)
        return handlers.confirm?.(move, context)
      },
      cancel: (move: Move, context) => {
        calls.push(`cancel ${move.account} ${context.tried}`)
        return handlers.cancel?.(move, context)
      },
    },
  )
}
