/**
 * Names of bindings as types, for `binder.binding(name)`: a channel has its literal name as a type, a binding a name derived from
 * that and its options, a binder the names of its bindings.
 */

/** Name of a binding, as a type. */
export interface Named<Name extends string> {
  /** For the types only, never set: the name for `binder.binding`. */
  readonly named?: Name | undefined
}

/**
 * The options that determine a binding's name, separate so that `ConsumerOptions` and similar types need no type parameters. Any
 * other text is accepted, too, for calls with explicit type arguments.
 */
export interface NameOptions<Group extends string, Name extends string> extends NameOption<Name> {
  readonly group?: Group | (string & {}) | undefined
}

/** The option that determines the name of a source, which has no group. */
export interface NameOption<Name extends string> {
  readonly name?: Name | (string & {}) | undefined
}

/** The names; any text when one of them is only known at run time. */
export type KnownNames<Names extends string> = string extends Widened<Names> ? string : Names

/** `string` instead of a pattern such as `orders.${string}`, which has no keys. */
type Widened<Name extends string> = Name extends unknown
  ? Record<never, unknown> extends Record<Name, unknown>
    ? string
    : Name
  : never
