import type { MysqlTransaction, MysqlXaResource } from '@concordat/mysql'
import type { XaCall, XaPassage, XaResource } from 'concordat/saga/xa'
import type { MortalClient } from './mortal.ts'

/** The resource of the process of a `MortalClient`: each call of it, and each statement, is a step of that. */
export class MortalResource implements XaResource<MysqlTransaction> {
  readonly name = 'MariaDB'
  readonly #inner: MysqlXaResource
  readonly #process: MortalClient

  constructor(inner: MysqlXaResource, process: MortalClient) {
    this.#inner = inner
    this.#process = process
  }

  ready: MysqlXaResource['ready'] = () => this.#inner.ready()
  place: MysqlXaResource['place'] = () => this.#process.step(() => this.#inner.place())
  look: MysqlXaResource['look'] = (whose) => this.#process.step(() => this.#inner.look(whose))
  committed: MysqlXaResource['committed'] = (whose) => this.#process.step(() => this.#inner.committed(whose))
  end: MysqlXaResource['end'] = (verb, gid) => this.#process.step(() => this.#inner.end(verb, gid))
  isHeld: MysqlXaResource['isHeld'] = (error) => this.#inner.isHeld(error)
  old: MysqlXaResource['old'] = (olderThanMs) => this.#inner.old(olderThanMs)

  prepare<T>(call: XaCall, work: (tx: MysqlTransaction) => Promise<T>): Promise<XaPassage<T>> {
    return this.#process.step(() =>
      this.#inner.prepare(call, (tx) =>
        work({ query: (text, parameters) => this.#process.step(() => tx.query(text, parameters)) }),
      ),
    )
  }
}

/** Resource that pauses before it prepares, after that, or after it has ended a transaction, until the promise is settled. */
export function stoppingResource(
  inner: MysqlXaResource,
  stops: {
    readonly beforePrepare?: () => Promise<void>
    readonly afterPrepare?: () => Promise<void>
    readonly afterEnd?: () => Promise<void>
  },
): MysqlXaResource {
  return {
    name: inner.name,
    ready: () => inner.ready(),
    migrate: () => inner.migrate(),
    purge: (options) => inner.purge(options),
    place: () => inner.place(),
    look: (whose) => inner.look(whose),
    committed: (whose) => inner.committed(whose),
    end: async (verb, gid) => {
      const ended = await inner.end(verb, gid)
      if (ended === 'ended') await stops.afterEnd?.()
      return ended
    },
    isHeld: (error) => inner.isHeld(error),
    old: (olderThanMs) => inner.old(olderThanMs),
    prepare: async (call, work) => {
      await stops.beforePrepare?.()
      const passage = await inner.prepare(call, work)
      await stops.afterPrepare?.()
      return passage
    },
  }
}
