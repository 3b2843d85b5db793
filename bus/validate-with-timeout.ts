import type { Clock } from '../core/clock.ts'
import { type StandardSchemaV1, validate } from '../core/schema.ts'
import { within } from '../core/time-limit.ts'
import { BusError } from './errors.ts'

export interface ValidationLimit {
  readonly clock: Clock
  readonly timeoutMs: number
  /** Name of the option that the schema belongs to. */
  readonly option: string
}

/** Same as `validate`, with a time limit, because others wait behind it. @throws SchemaError, `bus.schema_timeout` */
export async function validateInTime<S extends StandardSchemaV1>(
  { clock, timeoutMs, option }: ValidationLimit,
  subject: string,
  schema: S,
  value: unknown,
): Promise<StandardSchemaV1.InferOutput<S>> {
  const valid = validate(subject, schema, value)
  if (!(valid instanceof Promise)) return valid
  const inTime = await within(clock, timeoutMs, valid, TOO_LATE)
  if (inTime === TOO_LATE) throw new BusError('bus.schema_timeout', { subject, timeoutMs, option })
  return inTime
}

const TOO_LATE = Symbol('too late')
