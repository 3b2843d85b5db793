/**
 * Names of bindings as types, for `binder.binding(name)`: a channel carries its literal name, a binding what follows from
 * that and its options, a binder those of its bindings.
 */

/** Name of a binding, as a type. */
export interface Named<Name extends string> {
  /** For the types only, never set: what `binder.binding` knows it by. */
  readonly named?: Name | undefined
}

/**
 * What of a binding's options makes its name: beside them, so that `ConsumerOptions` and its like have no type parameters.
 * Other text fits as well, for calls with explicit type arguments.
 */
export interface NameOptions<Group extends string, Name extends string> extends NameOption<Name> {
  readonly group?: Group | (string & {}) | undefined
}

/** The same of a source, which has no group. */
export interface NameOption<Name extends string> {
  readonly name?: Name | (string & {}) | undefined
}

/** The names; any text when one of them is known at run time only. */
export type KnownNames<Names extends string> = string extends Widened<Names> ? string : Names

/** `string` instead of a pattern such as `orders.${string}`, which has no keys. */
type Widened<Name extends string> = Name extends unknown
  ? Record<never, unknown> extends Record<Name, unknown>
    ? string
    : Name
  : never
