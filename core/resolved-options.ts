/**
 * Options merged with the defaults and checked: each has a value, except those in `MayBeMissing`, which stay as the caller passes
 * them. Leave out options that get another form (`Omit`), and add that form with `&`.
 */
export type Resolved<Options extends object, MayBeMissing extends keyof Options = never> = {
  readonly [Name in Exclude<keyof Options, MayBeMissing>]-?: Exclude<Options[Name], undefined>
} & { readonly [Name in keyof Required<Pick<Options, MayBeMissing>>]: Options[Name] | undefined }
