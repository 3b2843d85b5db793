/**
 * Actions of operators on sagas whose definitions are not loaded, for the command line and the console. `resolve` needs no
 * definition and is applied at once. The others are stored in the saga's row: the next instance that has the saga's version
 * applies them within about a second, by the rules of the machine, and writes the result to the timeline. No step is called from
 * here.
 */
import type { Clock } from '../core/clock.ts'
import { newId } from '../core/ids.ts'
import type { OwnQuery, SqlClient } from '../core/sql.ts'
import { type OperatorNote, pinned, whyRefused } from '../saga/coordinator/operator-checks.ts'
import { endedWith, reportToParent } from '../saga/definition/parent-child-relation.ts'
import type { OperatorAction, SeenStuck } from '../saga/machine/event.ts'
import { advance } from '../saga/machine/machine.ts'
import type { SagaShape, SagaState, SagaStatus } from '../saga/machine/state.ts'
import { nextRevision } from '../saga/store/revision.ts'
import type { SagaStore } from '../saga/store/store.ts'
import type { SagaKey, SagaRow } from '../saga/store/store-types.ts'
import { mailAtEnd } from '../saga/store/unhandled-mail.ts'

/** Result of an action. */
export interface SagaActionResult {
  readonly saga: string
  readonly id: string
  readonly action: OperatorAction['do']
  /**
   * `applied`; `waiting`: it is in the row, and no instance with the saga's version has applied it yet; `refused`: the saga's
   * state, or the schema of a result, does not allow it; `would`: result of a dry run.
   */
  readonly outcome: 'applied' | 'waiting' | 'refused' | 'would'
  /** Status of the saga at that time. */
  readonly status: SagaStatus
  /** Reason for the refusal. */
  readonly why?: string | undefined
}

/** An action with the operator and the reason. The timeline stores all three. */
export interface SagaOrder extends OperatorNote {
  readonly action: OperatorAction
}

export interface ActionHost {
  readonly sql: SqlClient
  readonly query: OwnQuery
  readonly store: SagaStore
  /** Quoted. */
  readonly saga: string
  readonly event: string
  readonly clock: Clock
}

/** A saga, and the failure on which it was stuck when the operator decided. */
export type SeenSaga = SagaKey & { readonly seen?: Pick<SeenStuck, 'step' | 'timesStuck'> | undefined }

interface Posted {
  readonly key: SagaKey
  readonly request: string
  /** Last line of the timeline before the action. */
  readonly seq: string
}

const LOOK_EVERY_MS = 100
const DROPPED = 'not done: the request is not in the saga any more, and nothing says what became of it: repeat it'

/** Returns the status that an action applies to. */
export function statusFor(action: OperatorAction): SagaStatus {
  return action.do === 'cancel' ? 'running' : 'stuck'
}

/** Acts in the order of `keys`, and continues after a refusal. A saga that no longer exists has no result. */
export async function actOnAll(
  host: ActionHost,
  keys: readonly SeenSaga[],
  order: SagaOrder,
  waitMs: number,
): Promise<readonly SagaActionResult[]> {
  const begun: Array<SagaActionResult | Posted> = []
  for (const key of keys) {
    const one = order.action.do === 'resolve' ? await resolveNow(host, key, order) : await post(host, key, order)
    if (one !== undefined) begun.push(one)
  }
  const deadline = host.clock.monotonic() + waitMs
  const results: SagaActionResult[] = []
  for (const one of begun) results.push('request' in one ? await follow(host, one, order, deadline) : one)
  return results
}

async function post(
  { sql, query, store, event }: ActionHost,
  { seen, ...key }: SeenSaga,
  { action: asked, by, reason }: SagaOrder,
): Promise<SagaActionResult | Posted | undefined> {
  const row = await store.load(sql, key)
  if (row === undefined) return undefined
  const action = pinned(asked, row.state, seen)
  if (row.state.status !== statusFor(action) || isOutdated(row.state, action)) return refusedIn(row.state, key, action)
  // The waiting action may change the state on which this decision was based.
  const isDecided = action.do === 'skip' || action.do === 'compensate'
  const ahead = isDecided ? row.mail?.find((mail) => 'operator' in mail) : undefined
  if (ahead !== undefined) {
    const why = `"${ahead.operator.do}" by ${ahead.by} waits to be taken up: look again when it has been`
    return refused(key, action, row.state.status, why)
  }
  const { rows } = await query<{ seq: string }>(
    sql,
    `SELECT coalesce(max(seq), 0)::text AS seq FROM ${event} WHERE saga = $1 AND id = $2`,
    [key.name, key.id],
  )
  const request = newId()
  if (await store.post(sql, key, { operator: action, by, reason, request })) {
    return { key, request, seq: rows[0]?.seq ?? '0' }
  }
  const now = (await store.load(sql, key))?.state
  return now && refusedIn(now, key, action)
}

/** Tells whether the operator saw the saga stuck on an earlier failure. */
function isOutdated({ timesStuck = 0 }: SagaState, action: OperatorAction): boolean {
  return action.do !== 'cancel' && action.timesStuck !== undefined && action.timesStuck !== timesStuck
}

/** Waits until the outcome is known, or the time limit has passed. */
async function follow(host: ActionHost, posted: Posted, order: SagaOrder, deadline: number): Promise<SagaActionResult> {
  const { clock } = host
  for (;;) {
    const result = await look(host, posted, order)
    const leftMs = deadline - clock.monotonic()
    if (result.outcome !== 'waiting' || leftMs <= 0) return result
    await clock.sleep(Math.min(LOOK_EVERY_MS, leftMs))
  }
}

async function look(
  { sql, query, saga, event }: ActionHost,
  { key, request, seq }: Posted,
  { action }: SagaOrder,
): Promise<SagaActionResult> {
  const { rows } = await query<{ status: SagaStatus; waits: boolean; kind: string | null; why: string | null }>(
    sql,
    `SELECT s.status, coalesce(s.mail @> jsonb_build_array(jsonb_build_object('request', $3::text)), false) AS waits,
       e.kind, e.detail->>'why' AS why
     FROM ${saga} s LEFT JOIN LATERAL (
       SELECT kind, detail FROM ${event} WHERE saga = s.name AND id = s.id AND seq > $4::bigint
         AND (kind = $5 OR kind = 'operator-refused' AND detail->>'action' = $6) AND detail->>'request' = $3
       ORDER BY seq LIMIT 1) e ON true
     WHERE s.name = $1 AND s.id = $2`,
    [key.name, key.id, request, seq, `operator-${action.do}`, action.do],
  )
  const row = rows[0]
  if (row === undefined) return refused(key, action, 'completed', 'it has ended and was deleted')
  const { status, waits, kind, why } = row
  const line = { saga: key.name, id: key.id, action: action.do, status }
  if (kind === `operator-${action.do}`) return { ...line, outcome: 'applied' }
  if (kind !== null) return refused(key, action, status, why ?? `it is ${status}`)
  if (status === 'completed' || status === 'compensated') return refused(key, action, status, `it is ${status}`)
  return waits ? { ...line, outcome: 'waiting' } : refused(key, action, status, DROPPED)
}

function refused(key: SagaKey, action: OperatorAction, status: SagaStatus, why: string): SagaActionResult {
  return { saga: key.name, id: key.id, action: action.do, outcome: 'refused', status, why }
}

function refusedIn(state: SagaState, key: SagaKey, action: OperatorAction): SagaActionResult {
  return refused(key, action, state.status, whyRefused(state, action))
}

/** Ends a stuck saga, for which its state is sufficient. */
async function resolveNow(
  { sql, store }: ActionHost,
  { seen, ...key }: SeenSaga,
  { action: asked, by, reason }: SagaOrder,
): Promise<SagaActionResult | undefined> {
  let action = asked
  for (;;) {
    const row = await store.load(sql, key)
    if (row === undefined) return undefined
    const { state } = row
    // Another process wrote the saga meanwhile, so it may be stuck on another failure.
    action = pinned(action, state, seen)
    const transition =
      state.status === 'stuck' && advance(shapeOf(state), state, { type: 'operator', action, by, reason })
    if (!transition) return refusedIn(state, key, action)
    if (await writeEnd({ sql, store }, row, transition)) {
      return { saga: key.name, id: key.id, action: action.do, outcome: 'applied', status: transition.state.status }
    }
  }
}

/** Returns false if the saga was written meanwhile. */
function writeEnd(
  { sql, store }: Pick<ActionHost, 'sql' | 'store'>,
  row: SagaRow,
  { state: ended, timeline }: NonNullable<ReturnType<typeof advance>>,
): Promise<boolean> {
  const state = endedWith(row.mail, ended)
  const report = reportToParent(state)
  const { mail, refusals } = mailAtEnd(row.mail, state.status)
  const wakeMs = mail === null ? null : 0
  const next = { ...row, state, mail, revision: nextRevision(row.revision), owner: null }
  return sql.transaction(async (tx) => {
    const parent = report && { name: report.saga, id: report.sagaId }
    if (parent !== undefined) await store.lock(tx, [row, parent])
    const written = await store.write(tx, [
      { row: next, previous: row.revision, wakeMs, heedsDeadline: false, timeline: [...timeline, ...refusals] },
    ])
    if (written.size === 1 && report !== undefined && parent !== undefined) await store.post(tx, parent, report)
    return written.size === 1
  })
}

/** Without the definition only the names of the steps are known, which is enough to end a saga. */
function shapeOf({ steps }: SagaState): SagaShape {
  const policy = { maxAttempts: 1, backoff: { initialMs: 0, maxMs: 0, factor: 1, jitter: 0 } }
  return {
    steps: steps.map(({ step }) => ({
      name: step,
      remote: false,
      transactional: false,
      pivot: false,
      compensates: true,
      timeoutMs: 0,
      invoke: policy,
      compensate: policy,
    })),
  }
}
