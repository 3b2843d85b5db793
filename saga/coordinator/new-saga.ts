/** Sagas before their first write. */
import { readInstant } from '../../core/elapsed-time.ts'
import { validate } from '../../core/schema.ts'
import type { SqlExecutor } from '../../core/sql.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { hashJson, stored } from '../json.ts'
import { initialState, type SagaState } from '../machine/state.ts'
import { nextRevision } from '../store/revision.ts'
import type { SagaRow, SagaTrace, SagaWrite } from '../store/store-types.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import type { CoordinatorRuntime } from './runtime.ts'

/** Id and input of a new saga, and its mark on a shard. */
export interface Beginning {
  readonly id: string
  readonly input: unknown
  /** Mark of the saga on a shard. */
  readonly shardMark: string | undefined
}

/** Creates the snapshot of a new saga. @throws SchemaError, `saga.payload_too_large` */
export async function newSagaSnapshot(
  { homeDatabase, clock, maxPayloadBytes }: CoordinatorRuntime,
  sql: SqlExecutor,
  saga: Saga,
  { id, input: given, shardMark }: Beginning,
  trace: SagaTrace | null,
): Promise<LoadedSaga> {
  const { name, version, graphHash, deadlineMs } = saga
  const input = stored(`input of ${name}/${id}`, given, maxPayloadBytes) ?? null
  await validate(`input of ${name}/${id}`, saga.input, input)
  const row: SagaRow = {
    name,
    id,
    version,
    graphHash,
    birth: await homeDatabase.birth(sql),
    state: initialState(saga),
    input,
    inputHash: hashJson(input),
    revision: 0,
    owner: null,
    epoch: 0,
    mail: null,
    deadlineInMs: deadlineMs ?? null,
    sinceWriteMs: 0,
    ageMs: 0,
    trace,
    home: shardMark,
  }
  const takenAt = readInstant(clock)
  const startedAt = takenAt.monotonicMs
  const deadline = deadlineMs === undefined ? {} : { deadlineAt: startedAt + deadlineMs }
  return { saga, row, takenAt, writtenAt: startedAt, startedAt, ...deadline }
}

/** Returns the first state of a saga that another instance shall begin: due at once. */
export function dueAtOnce(row: SagaRow, state: SagaState = row.state): SagaWrite {
  return {
    row: { ...row, state, revision: nextRevision(0) },
    previous: 0,
    wakeMs: 0,
    heedsDeadline: false,
    timeline: [],
  }
}
