/** Creates the error class of a part: its `code` says what happened and determines the fields of the error. */
import { ConcordatError, said, toError } from './errors.ts'

/** Error of a part. Comparing its `code` narrows it to the fields of that code. */
export type ErrorOf<Fields, Code extends keyof Fields = keyof Fields> = Code extends keyof Fields
  ? ConcordatError & { readonly code: Code } & Readonly<Fields[Code]>
  : never

type Message<Fields> = string | ((fields: Fields, cause: unknown) => string)

/** Message of each code: a text, or a function of the fields and the cause. No field may be called `name` or `code`. */
export type Messages<Fields> = {
  readonly [Code in keyof Fields]: Extract<keyof Fields[Code], 'name' | 'code'> extends never
    ? Message<Fields[Code]>
    : never
}

type Rest<Fields> = object extends Fields ? [fields?: Fields, cause?: unknown] : [fields: Fields, cause?: unknown]

/** Constructor of a part's errors: `new LockError('locks.reentered', { key })`. `instanceof` narrows to all of its codes. */
export interface ErrorClass<Fields> {
  new <Code extends keyof Fields>(code: Code, ...rest: Rest<Fields[Code]>): ErrorOf<Fields, Code>
  readonly prototype: ErrorOf<Fields>
}

/**
 * @param retryable codes of errors after which the same call may succeed; a field `retryable` overrides it for one error
 * @returns a class whose instances have the fields as properties
 */
export function errorClass<Fields>(
  name: string,
  messages: Messages<Fields>,
  retryable: ReadonlyArray<keyof Fields> = [],
): ErrorClass<Fields> {
  const made = class extends ConcordatError {
    readonly code: string
    readonly retryable: boolean

    constructor(code: keyof Fields & string, fields = {} as Fields[typeof code], cause?: unknown) {
      const message = messages[code] as Message<typeof fields>
      super(typeof message === 'string' ? message : message(fields, cause), cause === undefined ? undefined : { cause })
      this.code = code
      this.retryable = retryable.includes(code)
      Object.assign(this, fields)
    }
  }
  Object.defineProperty(made, 'name', { value: name })
  return made as unknown as ErrorClass<Fields>
}

/**
 * True for an error of this class with one of these codes. Use it where errors of user functions arrive too: `hasCode` is not
 * enough there, because user code may create an error with the code of another service. Never throws.
 */
export function isOf<Fields, Code extends keyof Fields>(
  error: unknown,
  type: ErrorClass<Fields>,
  ...codes: readonly Code[]
): error is ErrorOf<Fields, Code> {
  try {
    return error instanceof type && codes.some((code) => error.code === code)
  } catch {
    // A proxy may refuse to reveal its class; it is then none of ours.
    return false
  }
}

/** Text of a cause inside a message. Never throws. */
export function reasonOf(cause: unknown): string {
  return cause === undefined ? 'no reason is known' : said(toError(cause), 'message')
}
