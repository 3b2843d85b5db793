/**
 * Finds the handler methods of providers. They are read from the classes before Nest creates instances, so that the service
 * exists when an instance injects it. A method is looked up when its message arrives.
 */
import type { DiscoveryService } from '@nestjs/core'
import type { Binding } from 'concordat/binder'
import { invalidOption, wrongKind } from 'concordat/extension'
import {
  type AnyMethod,
  type MethodDeclaration,
  methodsOf,
  neededBy,
  type OptionalPart,
  type Role,
  wantedBy,
} from './decorator-metadata.ts'

/** Nest's wrapper of a provider or a controller. */
export type Provided = ReturnType<DiscoveryService['getProviders']>[number]

/** A handler method of a provider. */
interface Found {
  readonly provided: Provided
  readonly declaration: MethodDeclaration
}

/** All providers and controllers, without aliases. */
export function allProvided(discovery: DiscoveryService): readonly Provided[] {
  return [...discovery.getProviders(), ...discovery.getControllers()].filter(({ isAlias }) => isAlias !== true)
}

/**
 * The bindings of all methods.
 * @throws TypeError with class and method, if two methods handle the same messages, and for an incomplete participant
 */
export function bindingsOf(all: readonly Provided[]): readonly Binding[] {
  const found = all.flatMap((provided) => {
    const prototype = declaredOn(provided)
    return (prototype === undefined ? [] : methodsOf(prototype)).map((declaration) => ({ provided, declaration }))
  })
  refuseTwice(found)
  const made = found.flatMap((one) => {
    const { declaration } = one
    const path = pathOf(one)
    if (declaration.kind === 'binding') return [{ path, binding: declaration.bind(calling(one)) }]
    const others = neededBy(declaration.role).map((role) => [role, calling(otherPart(one, role, found))] as const)
    const methods = Object.fromEntries([[declaration.role, calling(one)], ...others]) as Record<Role, AnyMethod>
    return declaration.bind === undefined ? [] : [{ path, binding: declaration.bind(methods) }]
  })
  refuseSameGroup(made)
  return made.map(({ binding }) => binding)
}

/** The binder would refuse it too, but does not know the methods. */
function refuseSameGroup(made: ReadonlyArray<{ readonly path: string; readonly binding: Binding }>): void {
  const seen = new Map<string, string>()
  for (const { path, binding } of made) {
    if (binding.kind === 'source' || binding.options.group === undefined) continue
    const place = JSON.stringify([binding.input.name, binding.options.group])
    const before = seen.get(place)
    if (before !== undefined)
      throw invalidOption(`${path}.group`, binding.options.group, `a group of its own: ${before} has this one`)
    seen.set(place, path)
  }
}

/** Checks the parts that a class needs. @throws TypeError with the class and the part that the service lacks */
export function requireWanted(all: readonly Provided[], has: (part: OptionalPart) => boolean): void {
  for (const { metatype, name } of all) {
    if (typeof metatype !== 'function') continue
    const missing = wantedBy(metatype).find((part) => !has(part))
    if (missing === undefined) continue
    throw wrongKind(
      `${String(name)}: its ${missing}`,
      undefined,
      `a service with them: give \`${OPTION[missing]}\` to ConcordatModule.forRoot`,
    )
  }
}

const OPTION: Readonly<Record<OptionalPart, string>> = {
  coordinator: 'sagas',
  outbox: 'sql',
  locks: 'locks',
  bus: 'bus',
}

/**
 * To be called after Nest has created all providers.
 * @throws TypeError for methods that would receive no messages: on objects made by a factory, or created per request
 */
export function requireReachable(all: readonly Provided[]): void {
  for (const provided of all) {
    const { instance } = provided as { readonly instance?: unknown }
    const isObject = typeof instance === 'object' && instance !== null
    const [first] = methodsOf(isObject ? instance : (declaredOn(provided) ?? {}))
    if (first === undefined) continue
    const path = pathOf({ provided, declaration: first })
    if (declaredOn(provided) === undefined)
      throw wrongKind(
        path,
        undefined,
        'its class among the providers, not a factory: only classes are read for handlers',
      )
    if (provided.isTransient || !provided.isDependencyTreeStatic())
      throw wrongKind(
        path,
        undefined,
        'a provider that is made once: a message is no request. Take Scope.REQUEST and Scope.TRANSIENT from it and from what it injects',
      )
  }
}

/**
 * The object with the declarations of a provider: its class, or the class that is its token. If a test module overrides a
 * provider with a mock (by value, class or factory), the token stays, and the mock receives the messages.
 */
function declaredOn(provided: Provided): object | undefined {
  const made = madeOf(provided)
  if (made !== undefined && methodsOf(made).length > 0) return made
  const { token } = provided as { readonly token?: unknown }
  const asked = typeof token === 'function' ? (token.prototype as object | undefined) : undefined
  return asked !== undefined && methodsOf(asked).length > 0 ? asked : made
}

/** A class's prototype, or a value; the result of a factory is unknown. */
function madeOf({ metatype, inject, instance }: Provided): object | undefined {
  if (typeof metatype === 'function')
    return Array.isArray(inject) ? undefined : (metatype.prototype as object | undefined)
  return typeof instance === 'object' && instance !== null ? (instance as object) : undefined
}

function calling({ provided, declaration }: Found): AnyMethod {
  return (...values) => {
    const { instance } = provided as { readonly instance: Readonly<Record<PropertyKey, AnyMethod>> }
    const method = instance[declaration.method]
    // Without it the message would count as handled.
    if (typeof method !== 'function')
      throw wrongKind(pathOf({ provided, declaration }), method, 'a method of what Nest provides, also of a mock')
    return method.call(instance, ...values)
  }
}

function pathOf({ provided, declaration }: Found): string {
  return `${String(provided.name)}.${String(declaration.method)} ${declaration.what}`
}

/** A class provided by two modules is created twice, and would do everything twice. */
function refuseTwice(found: readonly Found[]): void {
  const seen = new Map<object, Found>()
  for (const one of found) {
    const before = seen.get(one.declaration)
    if (before !== undefined && before.provided !== one.provided) {
      const modules = [before, one].map(({ provided }) => provided.host?.name ?? 'a module')
      throw wrongKind(
        pathOf(one),
        undefined,
        `one provider, in one module that exports it: ${modules.join(' and ')} both make one, or a class inherits it from another provider`,
      )
    }
    seen.set(one.declaration, one)
  }
}

/** The method of the same provider that a method of a participant requires. */
function otherPart(one: Found, role: Role, found: readonly Found[]): Found {
  const { declaration, provided } = one
  const others = found.filter(
    ({ provided: by, declaration: other }) =>
      by === provided &&
      other.kind === 'part' &&
      other.role === role &&
      other.channel === (declaration.kind === 'part' ? declaration.channel : undefined),
  )
  const [other] = others
  if (other !== undefined && others.length === 1) return other
  const expected = `one method of the same class with @${role} of this channel`
  throw wrongKind(
    pathOf(one),
    undefined,
    others.length === 0 ? expected : `${expected}, and there are ${others.length}`,
  )
}
