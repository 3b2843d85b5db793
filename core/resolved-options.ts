/**
 * Options merged with the defaults and checked: each has a value, except those named in `MayBeMissing`, which stay `undefined` unless the
 * caller gives them. Leave out options that get another form (`Omit`), and add that form with `&`.
 */
export type Resolved<Options extends object, MayBeMissing extends keyof Options = never> = {
  readonly [Name in keyof Options]-?: Name extends MayBeMissing
    ? Options[Name] | undefined
    : Exclude<Options[Name], undefined>
}
