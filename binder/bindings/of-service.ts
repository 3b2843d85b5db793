/**
 * Declarations that leave to a service what only a service has: `inbox: true`, a participant without a database. They are
 * data like all others; `createService` completes them, `createBinder` alone refuses them.
 */
import { wrongKind } from '../../core/options.ts'
import type { Binding, ServiceParts } from './declarations.ts'
import type { Inbox } from './inbox.ts'

const refuse = (): Promise<never> => Promise.reject(new Error('inbox: true was not completed by a service'))

/** Placeholder for `inbox: true`, which a service replaces by its own inbox. */
const SERVICE_INBOX: Inbox = Object.freeze({ hasOutbox: true, process: refuse, processBatch: refuse })

type WithInbox = { readonly inbox?: Inbox | true | undefined }
type Resolved<Options extends WithInbox> = Omit<Options, 'inbox'> & { readonly inbox?: Inbox | undefined }

/** The options of a consumer, frozen. */
export function consumerOptions<Options extends WithInbox>(options: Options): Resolved<Options> {
  const { inbox } = options
  return Object.freeze({ ...options, ...(inbox === true && { inbox: SERVICE_INBOX }) }) as Resolved<Options>
}

function settlesInService({ options }: Exclude<Binding, { kind: 'source' }>): boolean {
  return 'settlesIn' in options && options.settlesIn === true
}

/** True when the declaration works in a service only. */
export function needsService(binding: Binding): boolean {
  if (binding.kind === 'source') return false
  if (settlesInService(binding)) return true
  return binding.options.inbox === SERVICE_INBOX || ('complete' in binding && binding.complete !== undefined)
}

/** Declarations by what a service made of them: a program has only the declaration to say which binding it polls. */
const declarations = new WeakMap<object, object>()

/** The inboxes of the services of bindings with `settlesIn`, which instances of another release may use for the same group. */
const inboxes = new WeakMap<object, Inbox>()

export function inboxBeside(binding: Binding): Inbox | undefined {
  return inboxes.get(binding)
}

/** The declaration with the service's parts where it left them out. */
export function completeBinding(binding: Binding, parts: ServiceParts): Binding {
  if (!needsService(binding) || binding.kind === 'source') return binding
  if ('complete' in binding && binding.complete !== undefined) return binding.complete(parts)
  const own = settlesInService(binding) ? { settlesIn: parts.sql } : { inbox: parts.inbox }
  const completed = Object.freeze({ ...binding, options: Object.freeze({ ...binding.options, ...own }) }) as Binding
  declarations.set(completed, binding)
  if (settlesInService(binding)) inboxes.set(completed, parts.inbox)
  return completed
}

/** Whether `binding` is `declared`, or what a service made of it. */
export function isMadeOf(binding: Binding, declared: object): boolean {
  return binding === declared || declarations.get(binding) === declared
}

/** The declaration without what a service puts in: to be looked at, not to be run. */
export function asDeclared(binding: Binding): Binding {
  if (!needsService(binding) || binding.kind === 'source') return binding
  const { inbox: _, ...options } = binding.options as Binding['options'] &
    WithInbox & { sharesTransactions?: boolean; settlesIn?: unknown }
  delete options.sharesTransactions
  delete options.settlesIn
  return Object.freeze({ ...binding, options: Object.freeze(options), complete: undefined }) as Binding
}

/** @throws TypeError when only a service can run it */
export function requireComplete(path: string, binding: Binding): void {
  if (binding.kind === 'source' || !needsService(binding)) return
  if (settlesInService(binding))
    throw wrongKind(
      `${path}.settlesIn`,
      true,
      'the SqlClient of the transport, or createService({ sql, bindings }) around it',
    )
  if (binding.options.inbox === SERVICE_INBOX) {
    throw wrongKind(
      `${path}.inbox`,
      true,
      'an inbox made by createInbox, or createService({ sql, bindings }) around it',
    )
  }
  throw wrongKind(`${path}.sql`, undefined, 'sql and outbox, or createService({ sql, bindings }) around it')
}
