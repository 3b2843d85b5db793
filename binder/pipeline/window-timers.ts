/** Messages that close windows by time. */
import type { StandardSchemaV1 } from '../../core/schema.ts'
import { type Channel, defineChannel } from '../channel/channel.ts'

/** Identifies a window. Any program may send to the channel, so messages that name another window are ignored. */
interface Named {
  readonly pipeline: string
  readonly window: string
}

/** Message about a window that is due. */
export interface DueTimer extends Named {
  readonly id: string
  readonly key: string
}

/** Requests timers for windows without one: those with an id above `after`, a limited number at a time. */
export interface SweepTimer extends Named {
  readonly after: string
}

export type WindowTimer = DueTimer | SweepTimer

const TIMER_SCHEMA: StandardSchemaV1<WindowTimer> = {
  '~standard': {
    version: 1,
    vendor: 'concordat',
    validate: (value) => {
      const timer = timerOf((value ?? {}) as Record<string, unknown>)
      return timer === undefined
        ? { issues: [{ message: 'expected { pipeline, window, id, key } or { pipeline, window, after }' }] }
        : { value: timer }
    },
  },
}

function timerOf({ pipeline, window, id, key, after }: Readonly<Record<string, unknown>>): WindowTimer | undefined {
  if (typeof pipeline !== 'string' || typeof window !== 'string') return undefined
  if (isId(after)) return { pipeline, window, after }
  return isId(id) && typeof key === 'string' ? { pipeline, window, id, key } : undefined
}

/** True for a PostgreSQL `bigint` above 0, or 0. */
function isId(value: unknown): value is string {
  return typeof value === 'string' && /^\d{1,18}$/.test(value)
}

/** Returns the name of the channel of a window's timers, distinct for each window because its name has no dots. */
export function timersName(pipeline: string, window: string): string {
  return `${pipeline}.${window}.timers`
}

/** @param group reader of the timers, which the sender creates */
export function timersOf({ pipeline, window }: Named, group: string): Channel<WindowTimer> {
  return defineChannel(timersName(pipeline, window), {
    payload: TIMER_SCHEMA,
    key: (timer) => ('key' in timer ? timer.key : null),
    groups: [group],
  })
}
