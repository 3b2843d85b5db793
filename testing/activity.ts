import { AsyncLocalStorage } from 'node:async_hooks'
import type { Binding } from '../binder/bindings/declarations.ts'
import type { Inbox } from '../binder/bindings/inbox.ts'
import type { Clock } from '../core/clock.ts'
import type { SqlClient } from '../core/sql.ts'

type Call = (...args: readonly unknown[]) => unknown

/** A running call of user code. */
interface Running {
  readonly name: string
  /** Timers that the call has set on the clock of the kit. */
  timers: number
  /** The call exceeded the time limit. */
  isGivenUp: boolean
}

/** Counts running calls of user code and of the transport, to distinguish work from waiting. */
export class Activity {
  /** Running calls of handlers, polls and inboxes. */
  readonly #calls = new Set<Running>()
  readonly #current = new AsyncLocalStorage<Running>()
  /** Increases with every event. */
  #events = 0

  get events(): number {
    return this.#events
  }

  /** Describes the running calls, for an error message. */
  get running(): readonly string[] {
    return [...this.#calls].map(({ name }) => name)
  }

  /** True while a call runs that does not wait for the clock and has not exceeded the time limit. */
  get isBusy(): boolean {
    return [...this.#calls].some(({ timers, isGivenUp }) => timers === 0 && !isGivenUp)
  }

  /** Stops waiting for the running calls. */
  giveUp(): void {
    for (const call of this.#calls) call.isGivenUp = true
  }

  happened(): void {
    this.#events++
  }

  /** The same clock, which records the call that sets a timer. */
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

  /** Adds a timer to the call that runs here. @returns a function that removes it again */
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

  /** The binding with its calls counted. */
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

  /** The client with its statements and transactions counted as running until they end. */
  watchSql(sql: SqlClient): SqlClient {
    const names: Readonly<Record<string, string>> = { query: 'a statement', transaction: 'a transaction' }
    return this.#watchMethods(sql, (method) => names[method])
  }

  /**
   * @param nameOf returns the name of a method's call; `undefined` for a method that is not counted
   */
  #watchMethods<T extends object>(of: T, nameOf: (method: string) => string | undefined): T {
    // The proxy's target is not the object itself: for a frozen object, a proxy would have to return each method unchanged.
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
