import { AsyncLocalStorage } from 'node:async_hooks'
import type { Binding } from '../binder/bindings/declarations.ts'
import type { Inbox } from '../binder/bindings/inbox.ts'
import type { Clock } from '../core/clock.ts'
import type { SqlClient } from '../core/sql.ts'

type Call = (...args: readonly unknown[]) => unknown

/** A call of the user's code that has not ended. */
interface Running {
  readonly name: string
  /** Timers that it has set on the clock of the kit. */
  timers: number
  /** The activity exceeded the time limit. */
  isGivenUp: boolean
}

/** Counts what is under way in the user's code and in the transport, to tell work from waiting. */
export class Activity {
  /** Calls of handlers, polls and inboxes that have not ended. */
  readonly #calls = new Set<Running>()
  readonly #current = new AsyncLocalStorage<Running>()
  /** Grows with everything that happens. */
  #events = 0

  get events(): number {
    return this.#events
  }

  /** Activities that have not ended, for a message. */
  get running(): readonly string[] {
    return [...this.#calls].map(({ name }) => name)
  }

  /** True while something runs that neither waits for the clock nor was given up. */
  get isBusy(): boolean {
    return [...this.#calls].some(({ timers, isGivenUp }) => timers === 0 && !isGivenUp)
  }

  /** Stops waiting for running activities. */
  giveUp(): void {
    for (const call of this.#calls) call.isGivenUp = true
  }

  happened(): void {
    this.#events++
  }

  /** The same clock, that knows which call waits for it. */
  watchClock(clock: Clock): Clock {
    return {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      sleep: (durationMs, signal) => {
        const over = this.#waits()
        return clock.sleep(durationMs, signal).finally(over)
      },
      setTimer: (durationMs, callback, keepsAlive) => {
        const over = this.#waits()
        const onTime = (): void => {
          over()
          callback()
        }
        const cancel = clock.setTimer(durationMs, onTime, keepsAlive)
        return () => {
          over()
          cancel()
        }
      },
    }
  }

  /** The call around this has one timer more. @returns until this is called */
  #waits(): () => void {
    const call = this.#current.getStore()
    if (call === undefined) return () => {}
    call.timers++
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      call.timers--
      this.#events++
    }
  }

  /** The binding, observed. */
  watch(binding: Binding): Binding {
    if (binding.kind === 'source') {
      const name = `poll of "${binding.output.name}"`
      return Object.freeze({ ...binding, poll: this.watchCall(name, binding.poll) })
    }
    if (!('handler' in binding)) return binding
    const { inbox } = binding.options
    const options =
      inbox === undefined ? binding.options : Object.freeze({ ...binding.options, inbox: this.#watchInbox(inbox) })
    const handler = this.watchCall(`handler of "${binding.input.name}"`, binding.handler as Call)
    return Object.freeze({ ...binding, options, handler }) as Binding
  }

  #watchInbox(inbox: Inbox): Inbox {
    return this.#watchMethods(inbox, () => 'inbox')
  }

  /** The client, whose statements and transactions count as running until they end. */
  watchSql(sql: SqlClient): SqlClient {
    const names: Readonly<Record<string, string>> = { query: 'a statement', transaction: 'a transaction' }
    return this.#watchMethods(sql, (method) => names[method])
  }

  /** @param nameOf what a call of the method is called; `undefined` for a method that is not watched */
  #watchMethods<T extends object>(of: T, nameOf: (method: string) => string | undefined): T {
    // Not a proxy of the object itself: of a frozen one, a proxy has to hand out each method as it is.
    return new Proxy({} as T, {
      has: (_, property) => property in of,
      get: (_, property) => {
        const value: unknown = Reflect.get(of, property, of)
        if (typeof value !== 'function') return value
        const name = nameOf(String(property))
        const bound = value.bind(of) as Call
        return name === undefined ? bound : this.watchCall(name, bound)
      },
    })
  }

  watchCall<F extends (...args: never[]) => unknown>(name: string, call: F): F {
    const watched: Call = (...args) => {
      const running: Running = { name, timers: 0, isGivenUp: false }
      this.#calls.add(running)
      this.#events++
      const ended = (): void => {
        this.#calls.delete(running)
        this.#events++
      }
      let result: unknown
      try {
        result = this.#current.run(running, () => (call as unknown as Call)(...args))
      } catch (error) {
        ended()
        throw error
      }
      if (result instanceof Promise) result.then(ended, ended)
      else ended()
      return result
    }
    return watched as unknown as F
  }
}
