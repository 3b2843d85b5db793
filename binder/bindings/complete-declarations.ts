/**
 * Declarations that need parts of a service: `once: true`, or a participant without a database. They are data like all others;
 * `createService` completes them, `createBinder` refuses them.
 */
import { invalidOption } from '../../core/errors.ts'
import { wrongKind } from '../../core/option-checks.ts'
import type { Binding, DeclaredConsumer, ServiceParts } from './declarations.ts'
import type { Inbox } from './inbox.ts'

type OnceOptions = Pick<DeclaredConsumer, 'once' | 'inbox' | 'settlesIn'>

/** True if the service supplies the inbox. False beside an inbox or client of the caller, which is refused. */
export function isLeftToService({ once, inbox, settlesIn }: OnceOptions): boolean {
  return once === true && inbox === undefined && settlesIn === undefined
}

/** True if the declaration works in a service only. */
export function needsService(binding: Binding): boolean {
  if (binding.kind === 'source') return false
  return isLeftToService(binding.options) || ('complete' in binding && binding.complete !== undefined)
}

/** Original declarations of completed ones, because a program passes the original to `poll`. */
const declarations = new WeakMap<object, object>()

/** Adds the service's parts that the declaration lacks. */
export function completeBinding(binding: Binding, parts: ServiceParts): Binding {
  if (!needsService(binding) || binding.kind === 'source') return binding
  if ('complete' in binding && binding.complete !== undefined) return binding.complete(parts)
  const completed = withServiceInbox(binding, parts.inbox)
  declarations.set(completed, binding)
  return completed
}

/** Adds the service's inbox to a binding with `once: true`. */
export function withServiceInbox<Of extends Exclude<Binding, { kind: 'source' }>>(binding: Of, inbox: Inbox): Of {
  const { once: _, ...options } = binding.options
  return Object.freeze({ ...binding, options: Object.freeze({ ...options, inbox }) }) as unknown as Of
}

/** Tells whether `binding` is `declared`, or was completed from it. */
export function isMadeOf(binding: Binding, declared: object): boolean {
  return binding === declared || declarations.get(binding) === declared
}

/** Returns the declaration without a service's parts, for inspection only. */
export function asDeclared(binding: Binding): Binding {
  if (!needsService(binding) || binding.kind === 'source') return binding
  const { once: _, sharesTransactions: __, ...options } = binding.options as DeclaredConsumer
  return Object.freeze({ ...binding, options: Object.freeze(options), complete: undefined }) as Binding
}

/** @throws TypeError for contradictory options, and for a declaration that only a service can run */
export function requireComplete(path: string, binding: Binding): void {
  if (binding.kind === 'source') return
  requireOneWay(path, binding.options)
  if (isLeftToService(binding.options))
    throw wrongKind(`${path}.once`, true, 'createService({ sql, bindings }) around it, or inbox: createInbox({ sql })')
  if (needsService(binding))
    throw wrongKind(`${path}.sql`, undefined, 'sql and outbox, or createService({ sql, bindings }) around it')
}

/** @throws TypeError naming the option and the remedy */
function requireOneWay(path: string, options: OnceOptions): void {
  const { once, inbox, settlesIn }: Readonly<Record<string, unknown>> = options
  if (once !== undefined && once !== true) throw invalidOption(`${path}.once`, once, 'true, or nothing')
  for (const [option, value] of Object.entries({ inbox, settlesIn })) {
    if (value === true) throw wrongKind(`${path}.${option}`, value, `${OBJECTS[option]}, or once: true in its place`)
    if (once === true && value !== undefined)
      throw wrongKind(`${path}.${option}`, value, 'none beside once: true, with which the service chooses')
  }
}

const OBJECTS: Readonly<Record<string, string>> = {
  inbox: 'an inbox made by createInbox',
  settlesIn: 'the SqlClient of the transport',
}
