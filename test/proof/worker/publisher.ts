/**
 * Publisher that sends its own order numbers in order, up to the granted number. It repeats unconfirmed ones after a
 * restart.
 */
import { type Binder } from 'concordat/binder'
import { type SqlTransaction, systemClock } from 'concordat/core'
import type { Grant } from '../run/grants.ts'
import { BATCH, INSTANCES } from '../settings.ts'
import { goesByOutbox, orderPlaced, type Placed, placed } from '../shop.ts'
import type { Site } from './site.ts'

const PAUSE_MS = 20
/** After a failure. */
const RETRY_MS = 200

export class Publisher {
  readonly #site: Site
  readonly #binder: Binder
  #upTo = 0
  #next = 0

  constructor(site: Site, binder: Binder) {
    this.#site = site
    this.#binder = binder
  }

  grant({ upTo }: Grant): void {
    this.#upTo = upTo
  }

  /** Publishes until the process is killed. */
  async run(): Promise<never> {
    await this.#untilDone(() => this.#resume())
    for (;;) {
      const orders = this.#take()
      if (orders.length === 0) await systemClock.sleep(PAUSE_MS)
      else await this.#send(orders)
    }
  }

  /** Resumes where the previous process was killed. */
  async #resume(): Promise<void> {
    const { sql, post } = this.#site
    const open = await sql.query<{ n: string }>(
      'SELECT n FROM sent WHERE publisher = $1 AND accepted_at IS NULL ORDER BY n',
      [post.number],
    )
    const last = await sql.query<{ n: string | null }>('SELECT max(n) AS n FROM sent WHERE publisher = $1', [
      post.number,
    ])
    const first = post.number === 0 ? INSTANCES : post.number
    await this.#confirm(open.rows.map(({ n }) => placed(Number(n))))
    const { n } = last.rows[0] ?? { n: null }
    this.#next = n === null ? first : Number(n) + INSTANCES
  }

  /** Takes never two orders of one customer: a repeated one must not come after a later one. */
  #take(): Placed[] {
    const orders = new Map<string, Placed>()
    while (this.#next <= this.#upTo && orders.size < BATCH) {
      const order = placed(this.#next)
      if (orders.has(order.customer)) break
      orders.set(order.customer, order)
      this.#next += INSTANCES
    }
    return [...orders.values()]
  }

  async #send(orders: readonly Placed[]): Promise<void> {
    await this.#untilDone(() => this.#site.sql.transaction((tx) => this.#begin(tx, orders)))
    const direct = orders.filter((order) => !goesByOutbox(order))
    if (this.#site.post.broken === 'counts-before-confirm') {
      await this.#untilDone(() => this.#accept(direct))
      await Promise.all(direct.map((order) => this.#publish(order).catch(() => {})))
    } else await this.#untilDone(() => this.#confirm(direct))
  }

  /**
   * Begins a batch. Orders of the outbox are accepted with this commit. Called again, it finds the rows it has already
   * written.
   */
  async #begin(tx: SqlTransaction, orders: readonly Placed[]): Promise<void> {
    const { rows } = await tx.query<{ n: string }>(
      `INSERT INTO sent (n, publisher, path, tries, accepted_at)
       SELECT n, $1, CASE WHEN outboxed THEN 'outbox' ELSE 'direct' END, 0, CASE WHEN outboxed THEN clock_timestamp() END
       FROM unnest($2::bigint[], $3::boolean[]) AS o (n, outboxed) ON CONFLICT DO NOTHING RETURNING n`,
      [this.#site.post.number, orders.map(({ n }) => n), orders.map(goesByOutbox)],
    )
    const fresh = new Set(rows.map(({ n }) => Number(n)))
    for (const order of orders) {
      if (fresh.has(order.n) && goesByOutbox(order)) {
        await this.#site.outbox.add(tx, orderPlaced, order, { id: idOf(order) })
      }
    }
  }

  /** Sends orders that have no confirmation yet. @throws when one of them still has none */
  async #confirm(orders: readonly Placed[]): Promise<void> {
    if (orders.length === 0) return
    const { sql } = this.#site
    const numbers = orders.map(({ n }) => n)
    const { rows } = await sql.query<{ n: string }>(
      'UPDATE sent SET tries = tries + 1 WHERE n = ANY($1) AND accepted_at IS NULL RETURNING n',
      [numbers],
    )
    const open = new Set(rows.map(({ n }) => Number(n)))
    const toSend = orders.filter(({ n }) => open.has(n))
    const outcomes = await Promise.allSettled(toSend.map((order) => this.#publish(order)))
    await this.#accept(toSend.filter((_, index) => outcomes[index]?.status === 'fulfilled'))
    const failed = outcomes.find((outcome) => outcome.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  async #publish(order: Placed): Promise<void> {
    await this.#binder.send(orderPlaced, order, { id: idOf(order) })
  }

  async #accept(orders: readonly Placed[]): Promise<void> {
    await this.#site.sql.query(
      'UPDATE sent SET accepted_at = clock_timestamp() WHERE n = ANY($1) AND accepted_at IS NULL',
      [orders.map(({ n }) => n)],
    )
  }

  async #untilDone(work: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        this.#site.logger.warn({ err: error }, 'not sent, tried again')
        await systemClock.sleep(RETRY_MS)
      }
    }
  }
}

/** The same whenever it is sent. */
function idOf({ n }: Placed): string {
  return `order-${n}`
}
