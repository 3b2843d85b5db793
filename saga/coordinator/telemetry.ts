/**
 * Spans and metrics of sagas. Created only when the coordinator has `telemetry`.
 *
 * The trace of a saga begins with the span of its `start`, and is stored with the saga. Every later span has that one as its
 * parent, whichever process creates it: a call of a local step, a command, and each change with another cause (a reply, a signal,
 * a due time, an operator). The span of a change is recorded only if the change was committed.
 */
import type { EncodedMessage } from '../../binder/channel/message.ts'
import { createSpan, withTrace } from '../../binder/telemetry/telemetry.ts'
import type { Clock } from '../../core/clock.ts'
import {
  errorType,
  type Measure,
  type Reading,
  type SpanOptions,
  type Telemetry,
  type TelemetryAttributes,
  type TelemetrySpan,
} from '../../core/telemetry-interface.ts'
import { readTraceContext, type TraceContext, traceHeaders } from '../../core/trace-context.ts'
import { kindOf } from '../definition/kinds/kind.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import type { SagaEvent, TimelineEntry } from '../machine/event.ts'
import type { Operation } from '../machine/operation.ts'
import { type Call, isEnded, type SagaStatus } from '../machine/state.ts'
import { listOf } from '../machine/step-shape-lookup.ts'
import type { OpenSagas } from '../store/saga-reads.ts'
import type { SagaRow, SagaTrace } from '../store/store-types.ts'
import type { SagaHealth } from './health.ts'

/** A change of a saga before it is written. */
export interface Change {
  readonly saga: Saga
  readonly before: SagaRow
  readonly after: SagaRow
  readonly event: SagaEvent
  readonly timeline: readonly TimelineEntry[]
}

export class SagaTelemetry {
  readonly #telemetry: Telemetry
  readonly #clock: Clock
  readonly #started: Measure
  readonly #ended: Measure
  readonly #stuck: Measure
  readonly #missing: Measure
  readonly #seconds: Measure
  readonly #stepSeconds: Measure
  /** Shard of the database, on its counts, because each shard counts separately. */
  readonly #shard: Readonly<Record<string, string>>

  constructor(telemetry: Telemetry, clock: Clock, shard?: string) {
    this.#telemetry = telemetry
    this.#shard = shard === undefined ? {} : { 'concordat.saga.shard': shard }
    this.#clock = clock
    this.#started = telemetry.counter(STARTED)
    this.#ended = telemetry.counter(ENDED)
    this.#stuck = telemetry.counter(STUCK)
    this.#missing = telemetry.counter(MISSING)
    this.#seconds = telemetry.histogram(SECONDS)
    this.#stepSeconds = telemetry.histogram(STEP_SECONDS)
  }

  /**
   * Records the span of a start, within the caller's.
   * @param work receives the trace to store with the saga; true: the saga is new
   */
  async start(saga: Saga, id: string, work: (trace: SagaTrace | null) => Promise<boolean>): Promise<void> {
    const span = this.#telemetry.span(`start ${saga.name}`, {
      kind: 'internal',
      parent: 'active',
      attributes: sagaAttributes({ name: saga.name, id, version: saga.version }),
    })
    try {
      const isNew = await span.run(() => work(span.context === undefined ? null : traceHeaders(span.context)))
      if (!isNew) span.set({ 'concordat.saga.existed': true })
      span.end()
    } catch (error) {
      span.end(error)
      throw error
    }
  }

  /** Records a call of a step's function, active inside it. @throws the error of `work` */
  async call<T>(row: SagaRow, call: Call, work: () => Promise<T>): Promise<T> {
    const span = this.#telemetry.span(`${call.operation} ${row.name}/${call.step}`, {
      kind: 'internal',
      parent: parentOf(row),
      attributes: { ...sagaAttributes(row), ...callAttributes(call), 'concordat.saga.epoch': row.epoch },
    })
    const since = this.#clock.monotonic()
    // Items of a list share one series; otherwise there would be as many as the longest list has items.
    const measure = (failure?: TelemetryAttributes): void =>
      this.#stepSeconds((this.#clock.monotonic() - since) / 1_000, {
        'concordat.saga.name': row.name,
        'concordat.saga.step': listOf(call.step),
        'concordat.saga.operation': call.operation,
        ...failure,
      })
    try {
      const result = await span.run(work)
      span.end()
      measure()
      return result
    } catch (error) {
      span.end(error)
      measure({ 'error.type': errorType(error) })
      throw error
    }
  }

  /** A command with its place in the saga's trace, and the span to end once the command is durable. */
  command(row: SagaRow, call: Call, message: EncodedMessage): { message: EncodedMessage; span: TelemetrySpan } {
    const span = createSpan(this.#telemetry, message.destination, message.id, parentOf(row))
    span.set({ ...sagaAttributes(row), ...callAttributes(call) })
    return { message: withTrace(message, span.context), span }
  }

  /** The span to end once the change is durable; none for what the span of a call has told already. */
  change(change: Change): TelemetrySpan | undefined {
    const name = nameOf(change)
    if (name === undefined) return undefined
    const { after, event, timeline } = change
    const parent = parentOf(after)
    const span = this.#telemetry.span(`${name} ${after.name}${'step' in event ? `/${event.step}` : ''}`, {
      kind: 'internal',
      parent,
      links: this.#elsewhere(parent),
      attributes: {
        ...sagaAttributes(after),
        ...('step' in event && { 'concordat.saga.step': event.step }),
        ...('operation' in event && { 'concordat.saga.operation': event.operation }),
        'concordat.saga.epoch': after.epoch,
        'concordat.saga.status': after.state.status,
      },
    })
    for (const { kind, step, detail } of timeline) {
      const { attempt, code } = detail ?? {}
      span.event(kind, {
        ...(step !== undefined && { 'concordat.saga.step': step }),
        ...(attempt !== undefined && { 'concordat.saga.attempt': attempt }),
        ...(code !== undefined && { 'error.type': code }),
      })
    }
    return span
  }

  /** Counts a message for which no saga was found. */
  missing(saga: string, step: string, action: string): void {
    this.#missing(1, {
      'concordat.saga.name': saga,
      'concordat.saga.step': step,
      'concordat.saga.missing': action,
    })
  }

  /** Records a committed change. */
  changed({ before, after, timeline }: Omit<Change, 'event' | 'saga'>, ageMs: number): void {
    const attributes = { 'concordat.saga.name': after.name }
    const { status } = after.state
    if (timeline.some(({ kind }) => kind === 'started')) this.#started(1, attributes)
    if (status === before.state.status) return
    if (status === 'stuck') this.#stuck(1, attributes)
    if (!isEnded(status)) return
    this.#ended(1, { ...attributes, 'concordat.saga.status': status })
    this.#seconds(ageMs / 1_000, { ...attributes, 'concordat.saga.status': status })
  }

  /** Starts to observe. @returns a function that stops it */
  observe(open: () => readonly OpenSagas[], inHand: () => number, slow: () => SagaHealth['slow']): () => void {
    return this.#telemetry.gauges([OPEN, OVERDUE, IN_HAND, SLOW], () => {
      const counts = new Map<string, { name: string; status: SagaStatus; count: number }>()
      const overdue = new Map<string, number>()
      for (const { name, status, count, overdue: late } of open()) {
        overdue.set(name, late + (overdue.get(name) ?? 0))
        const key = `${name} ${status}`
        counts.set(key, { name, status, count: count + (counts.get(key)?.count ?? 0) })
      }
      const readings: Reading[] = [...counts.values()].map(({ name, status, count }) => ({
        name: OPEN.name,
        value: count,
        attributes: { 'concordat.saga.name': name, 'concordat.saga.status': status, ...this.#shard },
      }))
      for (const [name, value] of overdue)
        readings.push({ name: OVERDUE.name, value, attributes: { 'concordat.saga.name': name, ...this.#shard } })
      for (const { saga, step, operation, count } of slow())
        readings.push({
          name: SLOW.name,
          value: count,
          attributes: {
            'concordat.saga.name': saga,
            'concordat.saga.step': step,
            'concordat.saga.operation': operation,
          },
        })
      return [...readings, { name: IN_HAND.name, value: inHand(), attributes: this.#shard }]
    })
  }

  /** Returns a link if the cause of the change belongs to another trace. */
  #elsewhere(parent: SpanOptions['parent']): readonly TraceContext[] {
    const active = this.#telemetry.active()
    return active === undefined || (typeof parent === 'object' && parent.traceId === active.traceId) ? [] : [active]
  }
}

/** Returns `undefined` for a saga that was started without telemetry; each of its spans is a trace. */
export function traceOf(row: Pick<SagaRow, 'trace'>): TraceContext | undefined {
  return row.trace === null ? undefined : readTraceContext(row.trace)
}

function parentOf(row: SagaRow): TraceContext | 'none' {
  return traceOf(row) ?? 'none'
}

interface Named {
  readonly name: string
  readonly id: string
  readonly version?: number | undefined
}

export function sagaAttributes({ name, id, version }: Named): TelemetryAttributes {
  return {
    'concordat.saga.name': name,
    'concordat.saga.id': id,
    ...(version !== undefined && { 'concordat.saga.version': version }),
  }
}

/** Attributes of a call, a command or a participant's handling of one. */
export function callAttributes(call: {
  readonly step: string
  readonly operation: Operation
  readonly attempt: number | undefined
}): TelemetryAttributes {
  return {
    'concordat.saga.step': call.step,
    'concordat.saga.operation': call.operation,
    ...(call.attempt !== undefined && { 'concordat.saga.attempt': call.attempt }),
  }
}

/** Returns the name of a change; `undefined` when it needs no span. */
function nameOf({ saga, before, after, event, timeline }: Change): string | undefined {
  const has = (kind: TimelineEntry['kind']): boolean => timeline.some((entry) => entry.kind === kind)
  switch (event.type) {
    case 'started':
    case 'yielded':
    case 'omitted':
    case 'armed':
    case 'planned':
    case 'chosen':
      return undefined
    case 'branched':
      return 'branch'
    case 'late':
      return 'timeout'
    case 'succeeded':
    case 'failed':
    case 'refused': {
      const step = saga.steps.find(({ name }) => name === event.step)
      const { status } = after.state
      return step === undefined
        ? 'reply'
        : (kindOf(step).spans.outcome ?? (status === before.state.status ? undefined : status))
    }
    case 'due':
      if (has('orphaned')) return 'take over'
      if (has('timed-out')) return 'timeout'
      if (has('started')) return 'begin'
      return endedInTime(saga, timeline) ?? 'resume'
    case 'resumed':
      return 'resume'
    case 'signalled':
      return 'signal'
    case 'undo':
      return 'undo'
    case 'unwritable':
      return 'stuck'
    case 'expired':
      return 'deadline'
    case 'operator':
      return `operator ${event.action.do}`
  }
}

/** Returns the name of a change in which a step's time limit passed. */
function endedInTime(saga: Saga, timeline: readonly TimelineEntry[]): string | undefined {
  const ended = saga.steps.filter(({ name }) => timeline.some(({ kind, step }) => kind === 'invoked' && step === name))
  return ended.map((step) => kindOf(step).spans.due).find((word) => word !== undefined)
}

const STARTED = { name: 'concordat.saga.started', unit: '{saga}', description: 'Sagas that began here' }
const ENDED = { name: 'concordat.saga.ended', unit: '{saga}', description: 'Sagas that ended here, by status' }
const MISSING = {
  name: 'concordat.saga.signal.missing',
  unit: '{message}',
  description: 'Messages that are signals of sagas that do not exist',
} as const
const STUCK = {
  name: 'concordat.saga.stuck',
  unit: '{saga}',
  description: 'How often a saga was parked for an operator',
}
const SECONDS = { name: 'concordat.saga.duration', unit: 's', description: 'From start to end' }
const STEP_SECONDS = { name: 'concordat.saga.step.duration', unit: 's', description: 'Calls of local steps' }
const OPEN = {
  name: 'concordat.saga.open',
  unit: '{saga}',
  description: 'Unfinished sagas in the database by status, at most 30 s old',
}
const OVERDUE = {
  name: 'concordat.saga.overdue',
  unit: '{saga}',
  description: 'Sagas that no coordinator has taken for a minute, at most 30 s old',
}
const SLOW = {
  name: 'concordat.saga.slow',
  unit: '{call}',
  description: 'Calls of local steps that have not returned within the timeoutMs of their step',
}
const IN_HAND = {
  name: 'concordat.saga.in_hand',
  unit: '{saga}',
  description: 'Sagas whose local step this process has in hand',
}
