/** A running window: adds messages, closes by number, and closes by time when its timer arrives. */

import type { SqlClient } from '../../core/sql.ts'
import type { ServiceParts } from '../bindings/declarations.ts'
import { Addressed } from '../bindings/outputs.ts'
import type { Channel } from '../channel/channel.ts'
import { WindowInvalid } from './errors.ts'
import type { Window } from './flow-options.ts'
import type { Call, Item, Next } from './item.ts'
import type { WindowSpec } from './stage.ts'
import { type OpenWindow, type WindowPlace, WindowTable } from './window-table.ts'
import { type DueTimer, timersOf, type WindowTimer } from './window-timers.ts'

/** Pipeline data for a window. */
export interface WindowHome {
  readonly pipeline: string
  /** Group that reads its timers. */
  readonly group: string
  readonly schema: string
}

/** Maximum size of a value, because it is read and written with each message. */
const MAX_STATE_BYTES = 1024 * 1024
const MAX_KEY = 1_024
/** Maximum size of a key. With both names it has to fit an entry of the index, of at most 2,704 bytes. */
const MAX_KEY_BYTES = 2_048
/** PostgreSQL has capacity for 6,400 locks of all transactions together by default. */
const MAX_KEYS_OF_MESSAGE = 1_000
/** Delay after which a timer counts as lost. */
const LOST_AFTER_MS = 10_000

/** Number of timers that one sweep sends, in one transaction. */
const SWEEP = 100

export class WindowStage {
  readonly spec: WindowSpec
  /** Channel of its timers; `undefined` if it closes by number alone. */
  readonly timers: Channel<WindowTimer> | undefined
  readonly #pipeline: string
  readonly #table: WindowTable
  readonly #next: Next

  constructor({ pipeline, group, schema }: WindowHome, spec: WindowSpec, next: Next) {
    this.#pipeline = pipeline
    this.spec = spec
    this.#table = new WindowTable(schema)
    this.#next = next
    this.timers = spec.everyMs === undefined ? undefined : timersOf({ pipeline, window: spec.name }, group)
  }

  readonly add: Next = async (item, call) => {
    const { context } = call
    const place = this.#place(this.#keyOf(item, call))
    const open = await this.#table.add(context.tx, place, this.spec.everyMs)
    const value = this.#added(open, item, call)
    if (open.count >= (this.spec.count ?? Infinity)) {
      await this.#table.remove(context.tx, open.id)
      await this.#handOn(open, place.key, value.value, this.#endOf(open), call)
      return
    }
    if (value.json !== undefined) await this.#table.keep(context.tx, open.id, value.json)
    if (open.count === 1) this.#setTimer(open.id, place.key, open.leftMs, call)
    if (open.endless !== null) this.#setTimer(open.endless, place.key, 0, call)
  }

  /** Handles a timer. */
  async due(timer: WindowTimer, call: Call): Promise<void> {
    if (timer.pipeline !== this.#pipeline || timer.window !== this.spec.name) return
    return 'after' in timer ? this.#sweep(timer.after, call) : this.#close(timer, call)
  }

  async #close({ id, key }: DueTimer, call: Call): Promise<void> {
    const window = await this.#table.close(call.context.tx, this.#place(key), id)
    if (window === undefined) return
    if ((window.leftMs ?? 0) > 0) return this.#setTimer(id, key, window.leftMs, call)
    const value: unknown = window.state === null ? undefined : JSON.parse(window.state)
    await this.#handOn(window, key, value, window.endsAt ?? window.now, call)
  }

  /**
   * Sends overdue timers again: after a broker lost them, a database was restored, or a release without `everyMs`. One message,
   * however many there are, because a starting instance waits for it.
   */
  async sendLost(sql: SqlClient, outbox: ServiceParts['outbox']): Promise<void> {
    const { timers } = this
    if (timers === undefined) return
    const turn = await this.#table.turnOfLost(sql, this.#place(''), LOST_AFTER_MS)
    if (turn === undefined) return
    const names = { pipeline: this.#pipeline, window: this.spec.name }
    // Instances that start together request it once, because the inbox knows the id.
    const id = `${timers.name}.${turn}`
    await sql.transaction((tx) => outbox.add(tx, timers, { ...names, after: '0' }, { id }))
  }

  async #sweep(after: string, call: Call): Promise<void> {
    const lost = await this.#table.lost(call.context.tx, this.#place(''), { byMs: LOST_AFTER_MS, after, limit: SWEEP })
    for (const { id, key } of lost) this.#setTimer(id, key, 0, call)
    const last = lost[SWEEP - 1]
    if (last !== undefined) this.#send({ after: last.id }, {}, call)
  }

  #place(key: string): WindowPlace {
    return { pipeline: this.#pipeline, name: this.spec.name, key }
  }

  #keyOf(item: Item, { context, keys }: Call): string {
    const key = (this.spec.key === undefined ? item.key : this.spec.key(item.payload, context)) ?? ''
    if (typeof key !== 'string' || key.length > MAX_KEY || !key.isWellFormed() || key.includes('\0'))
      throw this.#invalid('key', key, `a text of at most ${MAX_KEY} characters in UTF-8 without NUL, or null`)
    const bytes = Buffer.byteLength(key)
    if (bytes > MAX_KEY_BYTES)
      throw this.#invalid('key', `${bytes} bytes`, `at most ${MAX_KEY_BYTES} bytes in UTF-8: a hash of it, for example`)
    if (keys.add(JSON.stringify([this.spec.name, key])).size > MAX_KEYS_OF_MESSAGE)
      throw this.#invalid(
        'key',
        `${keys.size} keys of one message`,
        `at most ${MAX_KEYS_OF_MESSAGE}, each of which is locked: put through(channel) between flatMap and the window`,
      )
    return key
  }

  /** Returns the value with this message, and its JSON. */
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
    // Round trip through JSON, so that a window that closes at once passes on the same value as a stored one.
    return { value: JSON.parse(json), json }
  }

  /** End of a full window: now. Without `everyMs` also when the previous release had set another end. */
  #endOf({ now, endsAt }: OpenWindow): number {
    return this.spec.everyMs === undefined || endsAt === null ? now : Math.min(now, endsAt)
  }

  #handOn(open: OpenWindow, key: string, value: unknown, endsAt: number, call: Call): void | Promise<void> {
    const named = key === '' ? null : key
    const payload: Window<unknown> = { key: named, count: open.count, value, startsAt: open.startsAt, endsAt }
    return this.#next({ payload, key: named, isKeyed: false }, call)
  }

  /** @param leftMs `null`: it does not close by time */
  #setTimer(id: string, key: string, leftMs: number | null, call: Call): void {
    if (leftMs !== null) this.#send({ id, key }, leftMs > 0 ? { delayMs: leftMs } : {}, call)
  }

  #send(what: { id: string; key: string } | { after: string }, options: { delayMs?: number }, { outputs }: Call): void {
    if (this.timers === undefined) return
    const timer: WindowTimer = { pipeline: this.#pipeline, window: this.spec.name, ...what }
    outputs.push(new Addressed(this.timers as Channel, timer, options))
  }

  #invalid(path: string, value: unknown, expected: string): WindowInvalid {
    return new WindowInvalid(this.#pipeline, this.spec.name, { path, value }, expected)
  }
}
