/** A window at work: adding a message, closing by number, and closing by time when its timer comes. */

import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { SqlClient } from '../../core/sql.ts'
import type { ServiceParts } from '../bindings/declarations.ts'
import { Addressed } from '../bindings/outputs.ts'
import { type Channel, defineChannel } from '../channel/channel.ts'
import { WindowInvalid } from './errors.ts'
import type { Window } from './flow-options.ts'
import type { Call, Item, Next } from './item.ts'
import type { WindowSpec } from './stage.ts'
import { type OpenWindow, WindowTable } from './window-table.ts'

/** Says that a window is due. */
export interface WindowTimer {
  readonly id: string
  readonly key: string
}

/** A larger value is refused: it is read and written with each message. */
const MAX_STATE_BYTES = 1024 * 1024
const MAX_KEY = 1_024
/** A timer that is so late is taken for lost. */
const LOST_AFTER_MS = 10_000

const TIMER_SCHEMA: StandardSchemaV1<WindowTimer> = {
  '~standard': {
    version: 1,
    vendor: 'concordat',
    validate: (value) => {
      const { id, key } = (value ?? {}) as Partial<WindowTimer>
      const fits = typeof id === 'string' && /^\d{1,19}$/.test(id) && typeof key === 'string'
      return fits ? { value: { id, key } } : { issues: [{ message: 'expected { id, key } of a window' }] }
    },
  },
}

export class WindowStage {
  readonly spec: WindowSpec
  /** Where its timers go; `undefined` when it closes by number alone. */
  readonly timers: Channel<WindowTimer> | undefined
  readonly #pipeline: string
  readonly #table: WindowTable
  readonly #next: Next

  constructor(pipeline: string, spec: WindowSpec, schema: string, next: Next) {
    this.#pipeline = pipeline
    this.spec = spec
    this.#table = new WindowTable(schema)
    this.#next = next
    this.timers = spec.everyMs === undefined ? undefined : timersOf(pipeline, spec.name)
  }

  readonly add: Next = async (item, call) => {
    const { context } = call
    const place = this.#place(this.#keyOf(item, call))
    const open = await this.#table.add(context.tx, place, this.spec.everyMs)
    const value = this.#added(open, item, call)
    if (open.count >= (this.spec.count ?? Infinity)) {
      await this.#table.remove(context.tx, open.id)
      await this.#handOn(open, place.key, value.value, Math.min(open.now, open.endsAt ?? open.now), call)
      return
    }
    if (value.json !== undefined) await this.#table.keep(context.tx, open.id, value.json)
    if (open.count === 1) this.#setTimer({ id: open.id, key: place.key }, open.leftMs, call)
  }

  /** Its timer came. */
  async due(timer: WindowTimer, call: Call): Promise<void> {
    const window = await this.#table.close(call.context.tx, this.#place(timer.key), timer.id)
    if (window === undefined) return
    if ((window.leftMs ?? 0) > 0) return this.#setTimer(timer, window.leftMs, call)
    const value: unknown = window.state === null ? undefined : JSON.parse(window.state)
    await this.#handOn(window, timer.key, value, window.endsAt as number, call)
  }

  /** Sends the timers again that should have come: of a broker that lost them, of a database that was restored. */
  async sendLost(sql: SqlClient, outbox: ServiceParts['outbox']): Promise<void> {
    const { timers } = this
    if (timers === undefined) return
    const lost = await this.#table.overdue(sql, this.#pipeline, this.spec.name, LOST_AFTER_MS)
    if (lost.length === 0) return
    await sql.transaction(async (tx) => {
      for (const timer of lost) await outbox.add(tx, timers, timer)
    })
  }

  #place(key: string) {
    return { pipeline: this.#pipeline, name: this.spec.name, key }
  }

  #keyOf(item: Item, { context }: Call): string {
    const key = this.spec.key === undefined ? item.key : this.spec.key(item.payload, context)
    if (key === null) return ''
    if (typeof key === 'string' && key.length <= MAX_KEY && key.isWellFormed() && !key.includes('\0')) return key
    throw this.#invalid('key', key, `a text of at most ${MAX_KEY} characters in UTF-8 without NUL, or null`)
  }

  /** The value with this message, and its JSON. */
  #added(open: OpenWindow, { payload }: Item, { context }: Call): { readonly value: unknown; readonly json?: string } {
    const { initial, add } = this.spec
    if (initial === undefined || add === undefined) return { value: undefined }
    const before: unknown = open.state === null ? initial() : JSON.parse(open.state)
    const value = add(before, payload, context)
    const json: string | undefined = value instanceof Promise ? undefined : JSON.stringify(value)
    if (json === undefined) throw this.#invalid('add', value, 'a value that JSON has')
    if (Buffer.byteLength(json) > MAX_STATE_BYTES)
      throw this.#invalid(
        'add',
        `${Buffer.byteLength(json)} bytes`,
        `a value of at most ${MAX_STATE_BYTES} bytes: send lists on, or keep them in a table of yours`,
      )
    // As it will be read: a window that closes at once gives no other value than one that was stored.
    return { value: JSON.parse(json), json }
  }

  #handOn(open: OpenWindow, key: string, value: unknown, endsAt: number, call: Call): void | Promise<void> {
    const named = key === '' ? null : key
    const payload: Window<unknown> = { key: named, count: open.count, value, startsAt: open.startsAt, endsAt }
    return this.#next({ payload, key: named, isKeyed: false }, call)
  }

  #setTimer(timer: WindowTimer, leftMs: number | null, { outputs }: Call): void {
    if (this.timers === undefined || leftMs === null) return
    outputs.push(new Addressed(this.timers as Channel, timer, { delayMs: Math.max(1, leftMs) }))
  }

  #invalid(path: string, value: unknown, expected: string): WindowInvalid {
    return new WindowInvalid(this.#pipeline, this.spec.name, { path, value }, expected)
  }
}

/** The channel of a window's timers. */
export function timersName(pipeline: string, window: string): string {
  return `${pipeline}.${window}.timers`
}

function timersOf(pipeline: string, window: string): Channel<WindowTimer> {
  return defineChannel(timersName(pipeline, window), {
    payload: TIMER_SCHEMA,
    key: ({ key }) => key,
    groups: [pipeline],
  })
}
