import type { Binding } from '../binder/binding.ts'
import type { Inbox } from '../binder/inbox.ts'

type Call = (...args: readonly unknown[]) => unknown

/** Counts what is under way in the user's code and in the transport, to tell work from waiting. */
export class Activity {
  /** Calls of handlers, polls and inboxes that have not ended. */
  readonly #calls = new Set<string>()
  #number = 0
  /** Grows with everything that happens. */
  #events = 0

  get events(): number {
    return this.#events
  }

  /** What runs, for a message. */
  get running(): readonly string[] {
    return [...this.#calls].map((call) => call.slice(call.indexOf(' ') + 1))
  }

  happened(): void {
    this.#events++
  }

  /** The binding, observed. */
  watch(binding: Binding): Binding {
    if (binding.kind === 'source') {
      const name = `poll of "${binding.output.name}"`
      return Object.freeze({ ...binding, poll: this.#watched(name, binding.poll as Call) as typeof binding.poll })
    }
    if (!('handler' in binding)) return binding
    const { inbox } = binding.options
    const options =
      inbox === undefined ? binding.options : Object.freeze({ ...binding.options, inbox: this.#watchInbox(inbox) })
    const handler = this.#watched(`handler of "${binding.input.name}"`, binding.handler as Call)
    return Object.freeze({ ...binding, options, handler }) as Binding
  }

  #watchInbox(inbox: Inbox): Inbox {
    return new Proxy(inbox, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property, target)
        if (typeof value !== 'function') return value
        return this.#watched('inbox', value.bind(target) as Call)
      },
    })
  }

  #watched(name: string, call: Call): Call {
    return (...args) => {
      const id = `${++this.#number} ${name}`
      this.#calls.add(id)
      this.#events++
      const ended = (): void => {
        this.#calls.delete(id)
        this.#events++
      }
      let result: unknown
      try {
        result = call(...args)
      } catch (error) {
        ended()
        throw error
      }
      if (result instanceof Promise) result.then(ended, ended)
      else ended()
      return result
    }
  }
}
