/**
 * The kinds of transaction as rows of two tables: participants, which get commands, and forms, which coordinate. Each does
 * the same piece of work, which leaves lines in one ledger. Another kind is another row.
 */

import type { MysqlXaResource } from '@concordat/mysql'
import type { Headers, SinkBinding } from 'concordat/binder'
import type { SqlClient, SqlExecutor, SqlTransaction } from 'concordat/core'
import { hasCode } from 'concordat/core'
import { createOutbox, type Outbox } from 'concordat/outbox'
import { defineSaga, localTarget, participant, Refusal, type Saga } from 'concordat/saga'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { httpTarget } from 'concordat/saga/http'
import { tccParticipant } from 'concordat/saga/tcc'
import { undo, undoParticipant } from 'concordat/saga/undo'
import { xaParticipant } from 'concordat/saga/xa'
import { z } from 'zod'
import type { Account, CommandedKind, Form } from '../../conformance/transactions.ts'
import { stoppingResource } from './mortal-resource.ts'
import { FAST, stockCommands } from './world.ts'

/** Ledger with a key of its own per line: an effect made twice is there twice. */
export const LEDGER =
  'CREATE TABLE IF NOT EXISTS kinds_ledger (line bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text, held int, done int)'

export async function accountIn(sql: SqlExecutor, id: string): Promise<Account> {
  const { rows } = await sql.query<Account>(
    `SELECT coalesce(sum(held), 0)::int AS held, coalesce(sum(done), 0)::int AS done FROM kinds_ledger WHERE id = $1`,
    [id],
  )
  return rows[0] as Account
}

async function line(tx: SqlExecutor, id: string, held: number, done: number): Promise<void> {
  await tx.query('INSERT INTO kinds_ledger (id, held, done) VALUES ($1, $2, $3)', [id, held, done])
}

/** Fails permanently while true. */
export interface Broken {
  confirm: boolean
  cancel: boolean
}

class ForGood extends Error {
  readonly code = 'stock.broken' as const
  readonly retryable = false as const
}

function failIf(isBroken: boolean): void {
  if (isBroken) throw new ForGood('the participant is broken')
}

export interface Side {
  readonly sql: SqlClient
  readonly outbox: Outbox
  readonly schema: string
  /** Resource with the ledger, when it is not in `sql`. */
  readonly resource?: MysqlXaResource | undefined
}

type Home = Pick<Side, 'sql' | 'schema'>

export interface ParticipantKind extends CommandedKind {
  readonly bind: (side: Side, broken: Broken) => SinkBinding
  /** Creates what the kind needs beside the tables of a participant. */
  readonly ready?: (home: Home) => Promise<void>
  /** State in its tables that is kept until the saga is decided. */
  readonly kept?: (home: Home, id: string) => Promise<readonly string[]>
}

const PLAIN: Headers = {}
const TCC: Headers = { 'saga-kind': 'tcc' }
const own = ({ sql, outbox, schema }: Side) =>
  ({ sql, outbox, schema, group: 'stock', backoff: FAST, maxAttempts: 3 }) as const

function bindTcc(side: Side, broken: Broken, effects: 'anywhere' | 'tx'): SinkBinding {
  return tccParticipant(
    stockCommands,
    { ...own(side), effects },
    {
      try: (_, { tx, sagaId }) => line(tx, sagaId, 1, 0),
      confirm: (_, { tx, sagaId }) => {
        failIf(broken.confirm)
        return line(tx, sagaId, -1, 1)
      },
      cancel: async (_, { tx, sagaId, tried }) => {
        failIf(broken.cancel)
        if (tried) await line(tx, sagaId, -1, 0)
      },
    },
  )
}

/** Fails to end prepared transactions: `confirm` and `cancel` of an XA participant call no user function. */
function unending(sql: SqlClient, broken: Broken): SqlClient {
  return {
    ...sql,
    query: async (text, parameters) => {
      failIf(broken.confirm && text.startsWith('COMMIT PREPARED'))
      failIf(broken.cancel && text.startsWith('ROLLBACK PREPARED'))
      return sql.query(text, parameters)
    },
  }
}

/** The same, of MariaDB. */
function unendingResource(resource: MysqlXaResource | undefined, broken: Broken): MysqlXaResource {
  if (resource === undefined) throw new TypeError('this kind needs a resource')
  return {
    ...stoppingResource(resource, {}),
    end: async (verb, gid) => {
      failIf(verb === 'COMMIT' ? broken.confirm : broken.cancel)
      return resource.end(verb, gid)
    },
  }
}

/** Fails to end kept state: that calls no user function either. */
function unforgetting(sql: SqlClient, broken: Broken): SqlClient {
  const query =
    (tx: SqlTransaction): SqlTransaction['query'] =>
    async (text, parameters) => {
      failIf((broken.confirm || broken.cancel) && /\bsaga_undo_release\(/.test(text))
      return tx.query(text, parameters)
    }
  return { ...sql, transaction: (work) => sql.transaction((tx) => work({ ...tx, last: undefined, query: query(tx) })) }
}

async function keptByUndo({ sql, schema }: Home, id: string): Promise<readonly string[]> {
  const { rows } = await sql.query<{ line: string }>(
    `SELECT 'branch ' || step AS line FROM ${schema}.saga_undo WHERE saga_id = $1
     UNION ALL SELECT 'image ' || seq FROM ${schema}.saga_undo_image WHERE split_part(branch, '/', 2) = $1
     UNION ALL SELECT 'lock ' || key FROM ${schema}.saga_undo_lock WHERE split_part(owner, chr(31), 2) = $1`,
    [id],
  )
  return rows.map(({ line }) => line)
}

/** Kinds that get commands. */
export const PARTICIPANTS = {
  saga: {
    name: 'a participant of a saga',
    confirms: false,
    header: PLAIN,
    otherHeader: TCC,
    bind: (side, broken) =>
      participant(stockCommands, own(side), {
        invoke: (_, { tx, sagaId }) => line(tx, sagaId, 0, 1),
        compensate: (_, { tx, sagaId }) => {
          failIf(broken.cancel)
          return line(tx, sagaId, 0, -1)
        },
      }),
  },
  tcc: {
    name: 'a TCC participant',
    confirms: true,
    header: TCC,
    otherHeader: PLAIN,
    bind: (side, broken) => bindTcc(side, broken, 'anywhere'),
  },
  tccInTransaction: {
    name: "a TCC participant with effects: 'tx'",
    confirms: true,
    header: TCC,
    otherHeader: PLAIN,
    bind: (side, broken) => bindTcc(side, broken, 'tx'),
  },
  xa: {
    name: 'an XA participant',
    confirms: true,
    header: TCC,
    otherHeader: PLAIN,
    bind: (side, broken) => {
      const sql = unending(side.sql, broken)
      return xaParticipant(stockCommands, { ...own({ ...side, sql }) }, (_, { tx, sagaId }) => line(tx, sagaId, 0, 1))
    },
  },
  xaMariadb: {
    name: 'an XA participant on MariaDB',
    confirms: true,
    header: TCC,
    otherHeader: PLAIN,
    bind: (side, broken) => {
      const resource = unendingResource(side.resource, broken)
      return xaParticipant(stockCommands, { ...own(side), resource }, async (_, { tx, sagaId }) => {
        await tx.query('INSERT INTO kinds_ledger (id, held, done) VALUES (?, 0, 1)', [sagaId])
      })
    },
  },
  undo: {
    name: 'an undo participant',
    confirms: true,
    header: TCC,
    otherHeader: PLAIN,
    ready: ({ sql, schema }) => undo.protect(sql, ['kinds_ledger'], { schema }),
    kept: keptByUndo,
    bind: (side, broken) => {
      const sql = unforgetting(side.sql, broken)
      return undoParticipant(stockCommands, { ...own({ ...side, sql }) }, (_, { tx, sagaId }) => line(tx, sagaId, 0, 1))
    },
  },
} satisfies Record<string, ParticipantKind>

export interface FormKind extends Pick<Form, 'name' | 'mayGiveUp' | 'without'> {
  readonly define: (broken: Broken, home: Home) => Saga<unknown, unknown, object>
  readonly runs: (saga: Saga<unknown, unknown, object>) => Form['run']
  /** Kind of the participant in the other service. */
  readonly kind: keyof typeof PARTICIPANTS
  readonly leaseMs?: number
  /** Set when the participant is called by HTTP. */
  readonly place?: { url: string }
  /** True: the participant is called within the process that coordinates. */
  readonly isLocal?: boolean
}

interface Input {
  readonly refused: boolean
}

const input = z.object({ refused: z.boolean() })
const within = { timeoutMs: 60_000 }
const calls = { retry: FAST, compensationRetry: FAST } as const
const request = () => ({ sku: 'a', n: 1 })
const decide = {
  pivot: true,
  transactional: true,
  invoke: ({ input: { refused } }: { readonly input: Input }) => {
    if (refused) throw new Refusal('no', 'no')
  },
} as const

const commanding = () =>
  defineSaga('commanding', { version: 1, input })
    .command('work', { ...calls, to: stockCommands, request, compensate: true })
    .step('decide', decide) as Saga<unknown, unknown, object>

/** URL of the participants that are called by HTTP, once they listen. Calls of a dead process are repeated soon. */
const place = { url: '' }
const target = httpTarget(stockCommands, { url: () => place.url, retry: FAST })
const soon = { timeoutMs: 300 } as const

const commandingByHttp = () =>
  defineSaga('commanding', { version: 1, input })
    .command('work', { ...calls, ...soon, to: target, request, compensate: true })
    .step('decide', decide) as Saga<unknown, unknown, object>

const reservingByHttp = () =>
  defineSaga('reserving', { version: 1, input })
    .tcc('work', { ...calls, ...soon, confirmRetry: FAST, to: target, request })
    .step('decide', decide) as Saga<unknown, unknown, object>

const reserving = () =>
  defineSaga('reserving', { version: 1, input })
    .tcc('work', { ...calls, confirmRetry: FAST, to: stockCommands, request })
    .step('decide', decide) as Saga<unknown, unknown, object>

/** No network is in between. */
const atOnce = { timeoutMs: 100 } as const

/** The participant is in this process, and dies with it. */
const targetIn = (kind: ParticipantKind, broken: Broken, { sql, schema }: Home) => {
  const outbox = createOutbox({ sql, service: 'nobody', schema })
  return localTarget(stockCommands, kind.bind({ sql, outbox, schema }, broken), { retry: FAST })
}

const reservingWithin =
  (kind: () => ParticipantKind): FormKind['define'] =>
  (broken, home) =>
    defineSaga('reserving', { version: 1, input })
      .tcc('work', { ...calls, ...atOnce, confirmRetry: FAST, to: targetIn(kind(), broken, home), request })
      .step('decide', decide) as Saga<unknown, unknown, object>

const commandingWithin: FormKind['define'] = (broken, home) =>
  defineSaga('commanding', { version: 1, input })
    .command('work', { ...calls, ...atOnce, to: targetIn(PARTICIPANTS.saga, broken, home), request, compensate: true })
    .step('decide', decide) as Saga<unknown, unknown, object>

const here = (broken: Broken) =>
  defineSaga('here', { version: 1, input })
    .tcc('work', {
      ...calls,
      confirmRetry: FAST,
      try: ({ tx, sagaId }) => line(tx, sagaId, 1, 0),
      confirm: ({ tx, sagaId }) => {
        failIf(broken.confirm)
        return line(tx, sagaId, -1, 1)
      },
      cancel: async ({ tx, sagaId, tried }) => {
        failIf(broken.cancel)
        if (tried) await line(tx, sagaId, -1, 0)
      },
    })
    .step('decide', decide) as Saga<unknown, unknown, object>

const runs =
  (saga: Saga<unknown, unknown, object>): Form['run'] =>
  async (coordinator, id, refused) => {
    const run = await coordinator.start(saga as Saga<Input, unknown, object>, { id, input: { refused } })
    const { status } = await run.outcome(within)
    return status === 'completed' ? 'done' : status === 'compensated' ? 'undone' : 'stuck'
  }

const work = defineBranch('work', { ...calls, confirmRetry: FAST, to: stockCommands })
const code = defineGlobalTransaction('code', { input, branches: [work] })
const workByHttp = defineBranch('work', { ...calls, ...soon, confirmRetry: FAST, to: target })
const codeByHttp = defineGlobalTransaction('code', { input, branches: [workByHttp] })

const runCode =
  (definition: typeof code, branch: typeof work): Form['run'] =>
  async (coordinator, id, refused) => {
    const no = new Error('the code says no')
    try {
      await coordinator.globalTransaction(definition, { ...within, id, input: { refused } }, async (global) => {
        await global.call(branch, request())
        if (refused) throw no
      })
      return 'done'
    } catch (error) {
      if (hasCode(error, 'saga.transaction_stuck')) return 'stuck'
      if (error === no || hasCode(error, 'saga.transaction_cancelled')) return 'undone'
      throw error
    }
  }

const bySaga = { mayGiveUp: false, runs } as const
const byCode = {
  mayGiveUp: true,
  define: () => code as Saga<unknown, unknown, object>,
  runs: () => runCode(code, work),
  // A process that lost it on a busy machine would cancel, for its code is not called again.
  leaseMs: 2_000,
} as const

const httpCode = {
  ...byCode,
  define: () => codeByHttp as Saga<unknown, unknown, object>,
  runs: () => runCode(codeByHttp, workByHttp),
  place,
} as const

/** Ways to coordinate. */
export const FORMS = {
  commanding: {
    ...bySaga,
    name: 'a saga that commands a participant',
    define: commanding,
    kind: 'saga',
    without: { 'stuck in confirm': 'its effect stands once it is made, and is not confirmed' },
  },
  here: {
    ...bySaga,
    name: 'a saga that reserves in its own database',
    define: here,
    kind: 'tcc',
    without: { commands: 'no command is sent: what it does commits with the row of its saga' },
  },
  tcc: { ...bySaga, name: 'a saga that reserves in another service', define: reserving, kind: 'tcc' },
  codeTcc: { ...byCode, name: 'code that reserves in another service', kind: 'tcc' },
  // On a server the next process waits for the lease of transactions made by code.
  undo: { ...bySaga, name: 'a saga whose work is undone in another service', define: reserving, kind: 'undo' },
  codeUndo: { ...byCode, name: 'code whose work is undone in another service', kind: 'undo', leaseMs: 400 },
  xa: { ...bySaga, name: 'a saga that prepares in another service', define: reserving, kind: 'xa' },
  commandingByHttp: {
    ...bySaga,
    name: 'a saga that commands a participant by HTTP',
    define: commandingByHttp,
    kind: 'saga',
    without: { 'stuck in confirm': 'its effect stands once it is made, and is not confirmed' },
    place,
  },
  tccByHttp: {
    ...bySaga,
    name: 'a saga that reserves in another service by HTTP',
    define: reservingByHttp,
    kind: 'tcc',
    place,
  },
  codeTccByHttp: { ...httpCode, name: 'code that reserves in another service by HTTP', kind: 'tcc' },
  undoByHttp: {
    ...bySaga,
    name: 'a saga whose work is undone in another service by HTTP',
    define: reservingByHttp,
    kind: 'undo',
    place,
  },
  xaByHttp: {
    ...bySaga,
    name: 'a saga that prepares in another service by HTTP',
    define: reservingByHttp,
    kind: 'xa',
    place,
  },
  commandingLocal: {
    ...bySaga,
    name: 'a saga that commands a participant of its own process',
    define: commandingWithin,
    kind: 'saga',
    without: { 'stuck in confirm': 'its effect stands once it is made, and is not confirmed' },
    isLocal: true,
  },
  tccLocal: {
    ...bySaga,
    name: 'a saga that reserves with a participant of its own process',
    define: reservingWithin(() => PARTICIPANTS.tcc),
    kind: 'tcc',
    isLocal: true,
  },
  undoLocal: {
    ...bySaga,
    name: 'a saga whose work is undone by a participant of its own process',
    define: reservingWithin(() => PARTICIPANTS.undo),
    kind: 'undo',
    isLocal: true,
  },
  xaLocal: {
    ...bySaga,
    name: 'a saga that prepares with a participant of its own process',
    define: reservingWithin(() => PARTICIPANTS.xa),
    kind: 'xa',
    isLocal: true,
  },
  xaMariadb: { ...bySaga, name: 'a saga that prepares on MariaDB', define: reserving, kind: 'xaMariadb' },
  codeXaMariadb: { ...byCode, name: 'code that prepares on MariaDB', kind: 'xaMariadb', leaseMs: 400 },
  codeXa: { ...byCode, name: 'code that prepares in another service', kind: 'xa', leaseMs: 400 },
} satisfies Record<string, FormKind>
