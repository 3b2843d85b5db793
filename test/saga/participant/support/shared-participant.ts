// oxlint-disable no-restricted-imports -- a small part with rules of its own, not reachable from outside
import type { HandlerContext, Headers } from 'concordat/binder'
import { type SqlClient, silentLogger } from 'concordat/core'
import { Barrier } from '../../../../saga/participant/barrier.ts'
import { CommandHandler, keptParts } from '../../../../saga/participant/command-handler.ts'
import type { ParticipantContext } from '../../../../saga/participant/context.ts'
import { stepDuties } from '../../../../saga/participant/operation-handlers.ts'
import type { ReplyOutbox } from '../../../../saga/participant/reply-outbox-interface.ts'
import { SharedCommandTransactions } from '../../../../saga/participant/shared-command-transaction.ts'
import type { ContextLogger } from '../../../support/inside/core.ts'
import { StillClock } from '../../../support/sharing.ts'
import { commandHeaders } from '../../support/delivery.ts'

interface SharedParticipant {
  readonly sql: SqlClient
  readonly outbox: ReplyOutbox
  readonly schema: string
  readonly effects: 'tx' | 'anywhere'
  readonly invoke: (context: ParticipantContext) => unknown
}

/** A participant whose commands share transactions whenever they are ready together. @returns how it is given a command */
export async function sharedParticipant({ sql, outbox, schema, effects, invoke }: SharedParticipant) {
  const barrier = new Barrier(schema)
  const duties = stepDuties<unknown, ParticipantContext>(
    barrier,
    { invoke: (_, context) => invoke(context), compensate: () => {} },
    effects === 'tx',
  )
  const handler = new CommandHandler({
    sql,
    outbox,
    duties,
    madeBy: 'participant',
    maxAttempts: 1,
    clock: new StillClock(),
    telemetry: undefined,
    ...keptParts(new StillClock()),
    shared: new SharedCommandTransactions(sql, new StillClock(), barrier),
  })
  const command = (sagaId: string, headers: Headers = {}): Promise<void> =>
    handler.handle({}, contextOf(sagaId, { ...commandHeaders(sagaId, 'invoke'), ...headers }))
  // The first call runs alone, because the duration of a call is not known before it.
  await command('first')
  return command
}

function contextOf(sagaId: string, headers: Headers): HandlerContext {
  return {
    id: sagaId,
    channel: 'stock.commands',
    key: sagaId,
    headers,
    time: 0,
    source: 'test',
    attempt: 1,
    group: 'stock',
    position: 'here',
    redelivered: false,
    signal: new AbortController().signal,
    log: silentLogger as ContextLogger,
  }
}
