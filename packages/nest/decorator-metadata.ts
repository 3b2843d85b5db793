/** Metadata that decorators store on a class: its handler methods, and the parts that its constructor needs. */
import type { Binding, Channel } from 'concordat/binder'

/** A method with any parameters. */
export type AnyMethod = (...values: never[]) => unknown

/** A handler method, and its declaration. */
export type MethodDeclaration = Whole | Part

interface Declared {
  readonly method: string | symbol
  /** In error messages: `@Sink("orders.placed")`. */
  readonly what: string
}

/** A complete binding. */
interface Whole extends Declared {
  readonly kind: 'binding'
  readonly bind: (handle: AnyMethod) => Binding
}

/** Role of a participant's method; the name of its decorator. */
export type Role = 'Invoke' | 'Compensate' | 'Try' | 'Confirm' | 'Cancel'

/** A method of a participant. */
export interface Part extends Declared {
  readonly kind: 'part'
  readonly role: Role
  readonly channel: Channel
  /** Set on the first role, which has the options. */
  readonly bind?: ((methods: Readonly<Record<Role, AnyMethod>>) => Binding) | undefined
}

/** The methods that belong together; the first one has the options. */
const TOGETHER: readonly (readonly Role[])[] = [
  ['Invoke', 'Compensate'],
  ['Try', 'Confirm', 'Cancel'],
]

/** The other methods that this one requires: methods after the first only require the first. */
export function neededBy(role: Role): readonly Role[] {
  const all = TOGETHER.find((roles) => roles.includes(role)) ?? []
  return all[0] === role ? all.slice(1) : all.slice(0, 1)
}

/** A part that a service may lack. */
export type OptionalPart = 'coordinator' | 'outbox' | 'locks' | 'bus'

// `Symbol.for`, so that two copies of the package in one tree share it.
const METHODS = Symbol.for('concordat.nest.methods')
const WANTED = Symbol.for('concordat.nest.wanted')

interface Kept {
  readonly [METHODS]?: readonly MethodDeclaration[]
  readonly [WANTED]?: readonly OptionalPart[]
}

/** Stores the declaration on the prototype. */
export function declareMethod(prototype: object, declaration: MethodDeclaration): void {
  keep(prototype, METHODS, [...ownOf(prototype), declaration])
}

/** Declarations of a prototype and its ancestors; the last declaration of a method counts. */
export function methodsOf(prototype: object): readonly MethodDeclaration[] {
  const found: MethodDeclaration[] = []
  for (let at: object | null = prototype; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const isNew = ({ method }: MethodDeclaration): boolean => !known.has(method)
    const known = new Set(found.map(({ method }) => method))
    found.push(...ownOf(at).filter(isNew))
  }
  return found
}

/** Records on a class that its instances need this part. */
export function declareWanted(target: object, part: OptionalPart): void {
  const type = typeof target === 'function' ? target : target.constructor
  keep(type, WANTED, [...wantedBy(type), part])
}

/** Parts that a class, or one of its ancestors, injects. */
export function wantedBy(type: object): readonly OptionalPart[] {
  return (type as Kept)[WANTED] ?? []
}

function ownOf(prototype: object): readonly MethodDeclaration[] {
  return Object.hasOwn(prototype, METHODS) ? ((prototype as Kept)[METHODS] ?? []) : []
}

function keep(target: object, name: symbol, value: unknown): void {
  Object.defineProperty(target, name, { value, configurable: true, enumerable: false })
}
