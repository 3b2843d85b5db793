/** The desk: takes transfers from its table and makes each one in the requested kind of transaction. */
import { hasCode, type SqlClient } from 'concordat/core'
import type { Service } from 'concordat/service'
import { type Transfer, transferByCode, transferCode, transferSaga, transferTcc } from './contracts.ts'
import type { Kind } from './options.ts'

export const SAGAS = [transferSaga, transferTcc, transferCode]

export const TABLES = `CREATE TABLE transfer (
  n int PRIMARY KEY, source text NOT NULL, target text NOT NULL, cents int NOT NULL, outcome text)`

export type Outcome = 'completed' | 'refused' | 'stuck'

interface Row {
  readonly n: number
  readonly source: string
  readonly target: string
  readonly cents: number
}

/** Concurrent transfers per process. XA and undo lock rows until the decision, and other transfers wait for them. */
const AT_ONCE: Readonly<Record<Kind, number>> = { saga: 16, tcc: 16, xa: 4, undo: 4, code: 16 }

/** Options of one desk process. Each of the `desks` processes makes its share of the transfers. */
export interface DeskOptions {
  readonly service: Service
  readonly sql: SqlClient
  readonly kind: Kind
  /** Starts at 0. */
  readonly index: number
  readonly desks: number
  readonly signal: AbortSignal
}

/**
 * Makes transfers until all of this desk's share have an outcome. After a kill, the next process continues with the
 * transfers that have none, under the same ids.
 */
export async function work(options: DeskOptions): Promise<void> {
  const { sql, kind, index, desks } = options
  const { rows } = await sql.query<Row>(
    'SELECT n, source, target, cents FROM transfer WHERE outcome IS NULL AND n % $2 = $1 ORDER BY n',
    [index, desks],
  )
  const left = rows.values()
  await Promise.all(Array.from({ length: AT_ONCE[kind] }, () => workOff(left, options)))
}

async function workOff(left: Iterator<Row> & Iterable<Row>, options: DeskOptions): Promise<void> {
  for (const { n, source, target, cents } of left) {
    if (options.signal.aborted) return
    const outcome = await MAKE[options.kind](options, `t-${n}`, { from: source, to: target, cents })
    await options.sql.query('UPDATE transfer SET outcome = $2 WHERE n = $1', [n, outcome])
  }
}

type Make = (options: DeskOptions, id: string, input: Transfer) => Promise<Outcome>

const MAKE: Readonly<Record<Kind, Make>> = {
  saga: bySaga(transferSaga),
  tcc: bySaga(transferTcc),
  // XA and undo use the saga of TCC: how a bank holds money is internal to the bank.
  xa: bySaga(transferTcc),
  undo: bySaga(transferTcc),
  code: byCode,
}

function bySaga(saga: typeof transferSaga): Make {
  return async ({ service }, id, input) => {
    const run = await service.run(saga, { id, input })
    const { status } = await run.outcome()
    return status === 'compensated' ? 'refused' : status
  }
}

/** Makes a transfer by code. If it was cancelled because its desk died, tries again under another id. */
async function byCode({ service }: DeskOptions, id: string, input: Transfer): Promise<Outcome> {
  for (let attempt = 1; ; attempt++) {
    try {
      const options = { id: `${id}.${attempt}`, input }
      await service.globalTransaction(transferCode, options, (global) => transferByCode(global, input))
      return 'completed'
    } catch (error) {
      if (hasCode(error, 'saga.transaction_stuck')) return 'stuck'
      if (reasonOf(error).startsWith('bank.')) return 'refused'
      if (!hasCode(error, 'saga.transaction_cancelled')) throw error
    }
  }
}

/** Returns the code of the refusal, whether this process received it or an earlier process recorded it. */
function reasonOf(error: unknown): string {
  const { code, failure } = error as { readonly code?: unknown; readonly failure?: { readonly code?: unknown } }
  return String(failure?.code ?? code)
}
